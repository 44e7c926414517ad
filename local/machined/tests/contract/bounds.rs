//! What a machine may take, and for how long.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nightshift_machines::{Guest, MachineState, MachinesError, NewVolume};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::world::{Made, Options, REGION, SOON, World, is_qemu, is_root, skipped, traces, until};

async fn status(world: &World) -> Value {
    let answer = world.call("GET", "/status", None).await;
    answer.json().await.unwrap()
}

/// Whether machines have cgroups here; says so if not.
async fn has_cgroups(world: &World) -> bool {
    let status = status(world).await;
    if status["cgroups"]["version"].is_null() {
        skipped(&format!("no cgroups: {}", status["cgroups"]["why"]));
        return false;
    }
    true
}

/// Whether volumes are file systems here; says so if not.
async fn has_file_systems(world: &World) -> bool {
    let status = status(world).await;
    if status["volume_size"]["bounded"] != "file system" {
        skipped(&format!(
            "no file systems: {}",
            status["volume_size"]["why"]
        ));
        return false;
    }
    true
}

/// Directories of this machine's control groups whose path holds `text`.
fn groups_with(text: &str) -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>, text: &str) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                walk(&path, found, text);
                if path.to_string_lossy().contains(text) {
                    found.push(path);
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), &mut found, text);
    found
}

async fn make_with(world: &World, name: &str, memory_mb: u32, script: &str) -> Made {
    let app = world.app(name).await;
    let new = NewVolume::for_sandbox("data", REGION, 1);
    let volume = world.client.create_volume(&app, &new).await.unwrap().id;
    let mut new = world.new_machine(name, script);
    new.config.guest = Some(Guest {
        cpu_kind: "shared".to_owned(),
        cpus: 1,
        memory_mb,
    });
    new.config.mounts = vec![nightshift_machines::Mount {
        volume: volume.clone(),
        path: "/data".to_owned(),
    }];
    let machine = world.client.create_machine(&app, &new).await.unwrap();
    let made = Made {
        app,
        volume,
        machine,
    };
    world.stopped(&made).await;
    made
}

async fn start(world: &World, made: &Made) {
    world
        .client
        .start(&made.app, &made.machine.id)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_memory_bomb_ends_in_its_own_machine_and_the_exit_says_why() {
    let world = World::new().await;
    if !has_cgroups(&world).await {
        return;
    }
    let neighbour = make_with(&world, "neighbour", 256, "echo READY; exec sleep 71.25").await;
    start(&world, &neighbour).await;
    // 300 MB in one string, in a machine of 256.
    let bomb =
        "perl -e '$n = 300 << 20; $x = \"x\" x $n; print \"survived\\n\"'; echo code $?; exit 9";
    let made = make_with(&world, "bomb", 256, bomb).await;
    start(&world, &made).await;
    world.stopped(&made).await;
    let printed = world.printed(&made, "code").await;
    assert!(
        printed.contains("code 137") && !printed.contains("survived"),
        "{printed}"
    );
    let machine = world
        .client
        .machine("bomb", &made.machine.id)
        .await
        .unwrap();
    let exit = machine.last_exit().unwrap();
    assert!(exit.oom_killed, "{exit:?}");
    assert_eq!(exit.exit_code, 9, "the shell lived on");

    let machine = world
        .client
        .machine("neighbour", &neighbour.machine.id)
        .await
        .unwrap();
    assert_eq!(machine.state, MachineState::Started);
    let room = make_with(&world, "room", 1_536, bomb).await;
    start(&world, &room).await;
    world.printed(&room, "survived").await;
}

#[tokio::test]
async fn files_in_memory_count_as_memory_and_all_users_processes_together_are_bounded() {
    let world = World::new().await;
    if !has_cgroups(&world).await {
        return;
    }
    // Half of the memory is in files: the other half is not enough for this.
    let script = "head -c 120m /dev/zero > /tmp/a; stat -c '%n %s' /tmp/a; \
                  perl -e '$n = 160 << 20; $x = \"x\" x $n; print \"survived\\n\"'; echo code $?";
    let made = make_with(&world, "files", 256, script).await;
    start(&world, &made).await;
    let printed = world.printed(&made, "code").await;
    assert!(printed.contains("/tmp/a 125829120\n"), "{printed}");
    assert!(printed.contains("code 137"), "{printed}");

    // Each user may have 1,024 processes; these are of eight users.
    let script = "for f in memory.limit_in_bytes memory.max pids.max cpu.cfs_quota_us cpu.max; do \
                    cat /sys/fs/cgroup/$f /sys/fs/cgroup/*/$f 2>/dev/null | sed \"s/^/$f=/\"; done; \
                  grep MemTotal /proc/meminfo; echo processors $(grep -c ^processor /proc/cpuinfo); \
                  perl -e 'while ($n < 3000 && defined($p = fork)) { \
                      $p or do { $< = $> = 1001 + $n % 8; sleep 20; exit }; ++$n } \
                    print \"forks $n\\n\"'; echo END";
    let made = make_with(&world, "forks", 2_048, script).await;
    start(&world, &made).await;
    let printed = world.printed(&made, "forks").await;
    assert!(printed.contains("pids.max=1024\n"), "{printed}");
    if is_qemu() {
        // It has no more than this to give.
        let kib = printed.split("MemTotal:").nth(1).unwrap();
        let kib: u32 = kib.split_whitespace().next().unwrap().parse().unwrap();
        assert!((1_800 << 10..=2_048 << 10).contains(&kib), "{printed}");
        assert!(printed.contains("processors 1\n"), "{printed}");
    } else {
        assert!(printed.contains("=2147483648\n"), "{printed}");
        assert!(printed.contains("=100000"), "{printed}");
    }
    let forks = printed.split("forks ").nth(1).unwrap();
    let forks: u32 = forks.lines().next().unwrap().parse().unwrap();
    assert!((900..1_024).contains(&forks), "{forks}");
}

#[tokio::test]
async fn root_inside_makes_groups_of_its_own_and_cannot_raise_its_machines_limits() {
    let world = World::new().await;
    if !has_cgroups(&world).await || !is_root() {
        return skipped("only where root hands a group over to another user");
    }
    let script = "cd /sys/fs/cgroup; [ -d memory ] && cd memory; mkdir inner && echo made; \
                  for f in memory.limit_in_bytes memory.max; do \
                    [ -e $f ] && { (echo 8000000000 > $f) 2>/dev/null && echo RAISED; }; done; \
                  sh -c 'echo 0 > inner/cgroup.procs && echo moved'; \
                  ls -d .. ../.. ../../..; ls -A /sys /sys/fs; \
                  setpriv --reuid 1002 --regid 1002 --clear-groups mkdir other 2>/dev/null \
                    && echo OTHER; echo END";
    let made = world.make("a", script).await;
    start(&world, &made).await;
    let printed = world.printed(&made, "END").await;
    assert!(
        printed.contains("made\n") && printed.contains("moved\n"),
        "{printed}"
    );
    assert!(
        !printed.contains("RAISED") && !printed.contains("OTHER"),
        "{printed}"
    );
    world.stopped(&made).await;
    assert_eq!(groups_with(&made.machine.id), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_killed_server_leaves_no_group_behind_once_it_is_back_and_none_when_it_ends() {
    let mut world = World::new().await;
    if !has_cgroups(&world).await {
        return;
    }
    let made = world.make("a", "echo READY; exec sleep 72.25").await;
    start(&world, &made).await;
    world.printed(&made, "READY").await;
    let id = made.machine.id.clone();
    assert!(!groups_with(&id).is_empty(), "it runs in a group");
    world.kill();
    until("the sandbox outlives the server", || {
        traces(&made, "sleep 72.25").is_empty()
    })
    .await;
    world.launch().await;
    assert_eq!(groups_with(&id), Vec::<PathBuf>::new());
    start(&world, &made).await;
    world.printed(&made, "READY\nREADY").await;
    let home = groups_with(&id)[0].clone();
    let home = home.ancestors().find(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("nightshift-machined-"))
    });
    let home = home
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    world.hang_up();
    assert_eq!(groups_with(&home), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_disk_bomb_in_a_volume_ends_with_no_space_and_the_volume_still_works() {
    let world = World::new().await;
    if !has_file_systems(&world).await {
        return;
    }
    let script = "echo before > /data/before; fallocate -l 900M /data/most && echo most; \
                  dd if=/dev/zero of=/data/bomb bs=1M count=400 2>&1 | grep -o 'No space left.*'; \
                  fallocate -l 2G /data/more 2>&1 | grep -o 'No space left.*'; \
                  cat /data/before; rm /data/bomb /data/most; echo after > /data/after && cat /data/after";
    let made = world.make("a", script).await;
    start(&world, &made).await;
    let printed = world.printed(&made, "after").await;
    let refusals = printed.matches("No space left").count();
    assert_eq!(refusals, 2, "{printed}");
    assert!(
        printed.contains("most\n") && printed.contains("before\n"),
        "{printed}"
    );
    world.stopped(&made).await;
    let image = world
        .state()
        .join("volumes")
        .join(&made.volume)
        .join("disk.img");
    let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounted.contains(&made.volume), "{mounted}");
    assert!(!loops_with(&made.volume), "a loop device is left");
    assert!(image.exists());
}

fn loops_with(text: &str) -> bool {
    fs::read_dir("/sys/block").unwrap().flatten().any(|entry| {
        let file = fs::read_to_string(entry.path().join("loop/backing_file"));
        file.is_ok_and(|file| file.contains(text))
    })
}

#[tokio::test]
async fn where_a_volume_is_a_directory_a_machine_that_outgrows_it_is_ended() {
    if is_qemu() {
        return skipped("a virtual machine's volume is always a disk");
    }
    let user = is_root().then_some(54_322);
    let world = World::start(Options {
        user,
        ..Options::default()
    })
    .await;
    assert_eq!(status(&world).await["volume_size"]["bounded"], "watched");
    let script = "fallocate -l 1100M /data/bomb; echo READY; exec sleep 73.25";
    let made = world.make("a", script).await;
    start(&world, &made).await;
    world.stopped(&made).await;
    let machine = world.client.machine("a", &made.machine.id).await.unwrap();
    assert_eq!(machine.last_exit().unwrap().exit_code, 137);
    fs::remove_file(
        world
            .state()
            .join("volumes")
            .join(&made.volume)
            .join("data/bomb"),
    )
    .unwrap();
}

#[tokio::test]
async fn a_machine_ends_by_itself_when_its_time_is_over_even_while_the_server_hangs() {
    // Long enough to boot.
    let ttl = if is_qemu() { "45" } else { "2" };
    let world = World::with(&["--ttl-seconds", ttl]).await;
    let script = "trap '' INT TERM HUP ALRM; echo READY; sleep 74.25; sleep 74.25";
    let made = world.make("a", script).await;
    start(&world, &made).await;
    world.printed(&made, "READY").await;
    let server = Pid::from_raw(world.pid().cast_signed()).unwrap();
    kill_process(server, Signal::STOP).unwrap();
    let over = || traces(&made, "sleep 74.25").is_empty();
    let began = std::time::Instant::now();
    while !over() && began.elapsed() < SOON {
        crate::world::pause().await;
    }
    let ended = over();
    kill_process(server, Signal::CONT).unwrap();
    assert!(ended, "it runs on");
    world.stopped(&made).await;
    let machine = world.client.machine("a", &made.machine.id).await.unwrap();
    assert_eq!(machine.last_exit().unwrap().exit_code, 137);
}

#[tokio::test]
async fn beyond_the_organisations_limits_nothing_is_made_and_what_goes_makes_room() {
    let limits = [
        "--max-apps",
        "2",
        "--max-volumes",
        "1",
        "--max-machines",
        "1",
    ];
    let world = World::with(&limits).await;
    world.make("a", "true").await;
    world.app("b").await;
    let third = world.client.create_app("c", crate::world::ORG, "c").await;
    assert!(says(&third, "app limit of 2"), "{third:?}");
    let new = NewVolume::for_sandbox("data", REGION, 1);
    let second = world.client.create_volume("b", &new).await;
    assert!(says(&second, "volume limit of 1"), "{second:?}");
    let second = world.new_machine("m", "true");
    let second = world.client.create_machine("b", &second).await;
    assert!(says(&second, "machine limit of 1"), "{second:?}");
    let told = status(&world).await;
    for kind in ["apps", "volumes", "machines"] {
        assert_eq!(told[kind]["used"], told[kind]["most"], "{told}");
    }

    world.client.delete_app("a").await.unwrap();
    while status(&world).await["apps"]["used"] != 1 {
        crate::world::pause().await;
    }
    world.make("c", "true").await;
}

fn says<T>(result: &Result<T, MachinesError>, text: &str) -> bool {
    result.as_ref().is_err_and(|error| {
        let mut told = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            told.push_str(&cause.to_string());
            source = cause.source();
        }
        told.contains(text)
    })
}
