//! What only a virtual machine can show: a kernel of its own, and no device but what it must have.

use crate::world::{World, is_qemu, processes_with, skipped};

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
