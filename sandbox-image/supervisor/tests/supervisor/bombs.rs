//! Commands that take all they can get, with the step that stops them and without it. None of them could take
//! more than this machine has: what they try for is a little above what they may have.

use std::fs;

use nightshift_supervisor::shell::{ShellAnswer, TookTooMuch};

use crate::{
    probe::{Action, shell},
    shelling::answer,
    world::{World, end_of, has_uids},
};

const FORK: &str = "python3 -c '
import os, time
n = 0
try:
    while n < 700:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        n += 1
except OSError:
    pass
print(n, flush=True)'";

/// 200 MiB in steps, each touched.
const MEMORY: &str = "python3 -c '
import time
kept = []
for step in range(40):
    kept.append(bytearray(b\"x\") * (5 << 20))
    time.sleep(0.02)
print(\"WON\")'";

const DISK: &str = "python3 -c '
import os, time
for step in range(30):
    with open(str(step), \"wb\") as file:
        file.write(b\"x\" * (2 << 20))
        file.flush()
        os.fsync(file.fileno())
    time.sleep(0.05)
print(\"WON\")'";

async fn run(without: &str, commands: &[(&str, u64)]) -> Vec<ShellAnswer> {
    run_in(World::claimed(&actions(commands)), without).await
}

fn actions(commands: &[(&str, u64)]) -> Vec<Action> {
    commands.iter().map(|(text, ms)| shell(text, *ms)).collect()
}

/// Runs commands one after the other where the agent may have 64 MiB of memory and 16 MiB of disk.
async fn run_in(mut world: World, without: &str) -> Vec<ShellAnswer> {
    world.without = without.to_owned();
    world.told = vec![
        ("NIGHTSHIFT_AGENT_MEMORY_MB", "64".to_owned()),
        ("NIGHTSHIFT_AGENT_DISK_MB", "16".to_owned()),
    ];
    assert_eq!(world.run().await, Some(0), "{}", world.log());
    world
        .results()
        .iter()
        .map(|result| answer(result))
        .collect()
}

#[tokio::test]
async fn processes_are_bounded_by_each_of_two_steps() {
    if !has_uids() {
        // Root's namesake here has as many processes as the machine likes.
        return;
    }
    for (without, bounded) in [
        ("", true),
        ("cgroups", true),
        ("resource-limits", true),
        ("cgroups,resource-limits", false),
    ] {
        // The watch would stop 700 interpreters for their memory.
        let without = format!("{without},usage-watch");
        let world = World::alone(&actions(&[(FORK, 20_000), ("echo on", 9_000)]));
        let answers = run_in(world, &without).await;
        let made: u32 = answers[0].stdout.trim().parse().unwrap_or(0);
        assert_eq!(made < 520, bounded, "without {without}: {:?}", answers[0]);
        assert_eq!(answers[1].stdout, "on\n", "without {without}");
    }
}

#[tokio::test]
async fn a_fork_bomb_leaves_the_supervisor_alive_and_nothing_behind() {
    if !has_uids() {
        return;
    }
    for without in ["", "cgroups"] {
        let mut bombed = actions(&[("b() { b | b & }; b; sleep 60", 1_500), ("echo on", 9_000)]);
        bombed.push(Action::WaitFor("counted".to_owned()));
        let mut world = World::alone(&bombed);
        world.without = without.to_owned();
        let mut child = world.start();
        world.until_done(2).await;
        let work = world.path("data/work");
        let left = fs::read_dir("/proc").unwrap().filter(|process| {
            let cwd = process.as_ref().map(|process| process.path().join("cwd"));
            fs::read_link(cwd.unwrap()).is_ok_and(|cwd| cwd == work)
        });
        assert_eq!(left.count(), 0, "without `{without}`");
        let answers: Vec<_> = world
            .results()
            .iter()
            .map(|result| answer(result))
            .collect();
        assert_ne!(answers[0].exit_code, Some(0), "{:?}", answers[0]);
        assert_eq!(answers[1].stdout, "on\n", "{answers:?}");
        world.release("counted");
        assert_eq!(end_of(&mut child).await, Some(0), "{}", world.log());
    }
}

#[tokio::test]
async fn memory_is_bounded_by_control_groups_or_else_by_watching() {
    for without in ["", "cgroups"] {
        let answers = run(without, &[(MEMORY, 20_000), ("echo on", 9_000)]).await;
        assert_eq!(
            answers[0].took_too_much,
            Some(TookTooMuch::Memory),
            "without {without}: {answers:?}"
        );
        assert!(!answers[0].stdout.contains("WON"));
        assert_eq!(answers[1].stdout, "on\n", "{answers:?}");
    }
    let open = run("cgroups,usage-watch", &[(MEMORY, 20_000)]).await;
    assert_eq!(open[0].stdout, "WON\n", "{open:?}");
}

#[tokio::test]
async fn many_small_processes_together_are_too_much_memory_too() {
    let together = "for i in 1 2 3 4 5 6 7 8; do python3 -c 'import time; b = bytearray(b\"x\") * (20 << 20); time.sleep(3)' & \
                    done; wait; echo WON";
    for without in ["", "cgroups"] {
        let answers = run(without, &[(together, 20_000)]).await;
        assert_eq!(
            answers[0].took_too_much,
            Some(TookTooMuch::Memory),
            "{answers:?}"
        );
    }
}

#[tokio::test]
async fn disk_is_bounded_by_watching_and_can_be_cleaned_up() {
    let clean = "ls | wc -l; rm -f *; echo clean";
    let again = "head -c 1000000 /dev/zero > small; ls";
    let answers = run("", &[(DISK, 20_000), (clean, 9_000), (again, 9_000)]).await;
    assert_eq!(
        answers[0].took_too_much,
        Some(TookTooMuch::Disk),
        "{answers:?}"
    );
    assert!(answers[1].stdout.ends_with("clean\n"), "{answers:?}");
    assert_eq!(answers[2].stdout, "small\n", "{answers:?}");
    let open = run("usage-watch", &[(DISK, 20_000)]).await;
    assert_eq!(open[0].stdout, "WON\n", "{open:?}");
}

#[tokio::test]
async fn one_huge_file_and_directories_without_end_are_stopped() {
    let huge = "fallocate -l 1G huge || head -c 30000000 /dev/zero > huge; stat -c %s huge";
    let deep = "python3 -c '
import os, time
for step in range(400):
    os.mkdir(\"d\")
    os.chdir(\"d\")
time.sleep(5)
print(\"WON\")'";
    let answers = run("", &[(huge, 9_000), (deep, 9_000)]).await;
    let size: u64 = answers[0].stdout.trim().parse().unwrap_or(0);
    assert!(size <= 16 << 20, "{answers:?}");
    assert_eq!(
        answers[1].took_too_much,
        Some(TookTooMuch::Disk),
        "{answers:?}"
    );
    let open = run(
        "usage-watch,resource-limits,seccomp",
        &[("fallocate -l 40M huge && stat -c %s huge", 9_000)],
    )
    .await;
    assert_eq!(open[0].stdout, "41943040\n", "{open:?}");
}

#[tokio::test]
async fn output_without_end_is_cut_and_then_ended() {
    let answers = run("", &[("yes", 30_000), ("yes | head -c 300000", 9_000)]).await;
    assert_eq!(
        answers[0].took_too_much,
        Some(TookTooMuch::Output),
        "{:?}",
        answers[0].timed_out
    );
    assert_eq!(answers[0].stdout.len(), 65_536);
    assert_eq!(answers[1].stdout.len(), 65_536);
    let open = run("output-cap", &[("yes | head -c 300000", 9_000)]).await;
    assert_eq!(open[0].stdout.len(), 300_000, "kept whole");
}
