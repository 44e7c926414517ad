//! What only a virtual machine can show: a kernel of its own, and no device but what it must have.

use nightshift_machines::MachineState;

use crate::world::{Made, World, is_qemu, processes_with, skipped};

#[tokio::test]
async fn a_virtual_machine_has_its_own_kernel_two_disks_one_port_and_nothing_else() {
    if !is_qemu() {
        return skipped("MACHINED_CONTRACT_BACKEND=qemu tries it");
    }
    let world = World::new().await;
    let script = "uname -r; cut -d' ' -f4 /proc/partitions >/dev/null; cat /proc/partitions; \
                  tail -n +3 /proc/net/dev | cut -d: -f1; grep -c . /proc/bus/pci/devices 2>/dev/null; \
                  ls /dev; head -c 16 /dev/vport0p1 2>&1; echo DONE; sleep 1";
    let made = world.make("a", script).await;
    world.client.start("a", &made.machine.id).await.unwrap();
    world.printed(&made, "DONE").await;
    let outside = processes_with(&made.machine.id);
    let printed = world.printed(&made, "DONE").await;
    let host = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(!printed.contains(host.trim()), "{printed}");
    assert!(
        printed.contains("vda") && printed.contains("vdb"),
        "{printed}"
    );
    assert!(
        !printed.contains("vdc") && !printed.contains("eth"),
        "{printed}"
    );
    assert!(
        printed.contains("'/dev/vport0p1'") && !printed.contains("\nvport0p1"),
        "the channel itself is out of reach: {printed}"
    );
    assert!(
        outside
            .iter()
            .all(|line| !line.contains("-netdev") && !line.contains("virtio-net")),
        "{outside:?}"
    );
}

/// What the supervisor's step `landlock` takes: a kernel that can keep files from being emptied (version 3 of its
/// interface, Linux 6.2), with landlock among the modules that it starts with.
#[tokio::test]
async fn a_virtual_machines_kernel_can_confine_files_as_the_supervisor_demands() {
    if !is_qemu() {
        return skipped("the kernel is the host's; MACHINED_CONTRACT_BACKEND=qemu tries it");
    }
    let world = World::new().await;
    // landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) on x86-64.
    let script = "perl -e 'print \"landlock \" . syscall(444, 0, 0, 1) . \"\\n\"'";
    let printed = world.run("a", script).await;
    let version: i32 = printed
        .trim()
        .strip_prefix("landlock ")
        .unwrap()
        .parse()
        .unwrap();
    assert!(version >= 3, "{printed}");
}

#[tokio::test]
async fn machines_boot_as_many_at_once_as_was_said_and_the_others_in_their_turn() {
    if !is_qemu() {
        return skipped("bubblewrap's boots take no time to wait for");
    }
    let world = World::with(&["--boots-at-once", "1"]).await;
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        all.push(world.make(name, "echo READY; exec sleep 60").await);
    }
    let starts = all
        .iter()
        .map(|made| world.client.start(&made.app, &made.machine.id));
    let watch = async {
        let mut most = 0;
        loop {
            let there = |made: &Made| !processes_with(&made.machine.id).is_empty();
            let processes: Vec<bool> = all.iter().map(there).collect();
            // Time enough for one that has given its turn away to be told of as started.
            crate::world::pause().await;
            let (mut started, mut booting) = (0, 0);
            for (made, is_there) in all.iter().zip(processes) {
                let machine = world
                    .client
                    .machine(&made.app, &made.machine.id)
                    .await
                    .unwrap();
                let up = machine.state == MachineState::Started;
                started += usize::from(up);
                booting += usize::from(is_there && !up);
            }
            most = most.max(booting);
            if started == all.len() {
                return most;
            }
        }
    };
    let (started, most) = tokio::join!(futures_util::future::join_all(starts), watch);
    assert!(started.iter().all(Result::is_ok), "{started:?}");
    assert_eq!(most, 1);
}
