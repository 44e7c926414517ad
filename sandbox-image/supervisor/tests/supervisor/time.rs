//! That everything ends: commands, and the machine's start, whoever has forgotten it; and what an end leaves.

use std::{fs, os::unix::process::ExitStatusExt as _, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    probe::{Action, shell},
    shelling::answer,
    world::{World, end_of, processes_with, until},
};

#[tokio::test]
async fn a_command_sleeps_past_its_time_only_without_the_wall_clock() {
    for (without, ends) in [("", true), ("wall-clock", false)] {
        let mut world = World::claimed(&[shell("sleep 2; echo WON", 300)]);
        world.without = without.to_owned();
        assert_eq!(world.run().await, Some(0), "{}", world.log());
        let said = answer(&world.results()[0]);
        assert_eq!(
            (said.timed_out, said.stdout.is_empty()),
            (ends, ends),
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn a_machine_whose_control_plane_is_gone_ends_by_itself_at_its_deadline() {
    for (without, ends) in [("", true), ("wall-clock", false)] {
        let mut world =
            World::claimed(&[shell("true", 9_000), Action::WaitFor("never".to_owned())]);
        world.without = without.to_owned();
        world.told = vec![("NIGHTSHIFT_DEADLINE_SECONDS", "3".to_owned())];
        let mut child = world.start();
        world.until_done(1).await;
        for socket in ["identity.sock", "run/gateway.sock"] {
            fs::remove_file(world.path(socket)).unwrap();
        }
        let ended = tokio::time::timeout(Duration::from_secs(6), child.wait()).await;
        assert_eq!(ended.is_ok(), ends, "without `{without}`: {}", world.log());
        if ends {
            assert!(world.log().contains("own deadline"), "{}", world.log());
            let below = world.directory.path().to_str().unwrap().to_owned();
            assert!(processes_with(&below).is_empty());
        }
    }
}

#[tokio::test]
async fn temporary_files_end_with_a_start_and_the_investigations_own_stay() {
    let world = World::claimed(&[shell(
        "echo x > $TMPDIR/scratch; echo y > kept; ls $TMPDIR",
        9_000,
    )]);
    fs::write(world.path("tmp/of-somebody-else"), "").unwrap();
    assert_eq!(world.run().await, Some(0), "{}", world.log());
    assert!(answer(&world.results()[0]).stdout.contains("scratch"));
    let left: Vec<_> = fs::read_dir(world.path("tmp")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(
        world.path("data/work/kept").exists(),
        "files in the working directory stay"
    );
}

#[tokio::test]
async fn a_crash_of_the_supervisor_writes_no_memory_to_disk() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with('|') {
        // A program of the host's takes the dump; there is no file to look for.
        return;
    }
    for (without, dumps) in [("", false), ("non-dumpable,no-core-dumps", true)] {
        let mut world =
            World::claimed(&[shell("true", 9_000), Action::WaitFor("never".to_owned())]);
        world.without = without.to_owned();
        let program = world.program().join(" ");
        let configured = world.command();
        let mut command = tokio::process::Command::new("/bin/sh");
        let directory = world.path("crashed");
        fs::create_dir(&directory).unwrap();
        let limitless = format!("ulimit -c unlimited && exec {program}");
        command
            .args(["-c", &limitless])
            .env_clear()
            .current_dir(&directory)
            .kill_on_drop(true);
        for (name, value) in configured.as_std().get_envs() {
            command.env(name, value.unwrap());
        }
        let mut child = command.spawn().unwrap();
        until(|| !world.results().is_empty()).await;
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::ABORT).unwrap();
        let status = child.wait().await.unwrap();
        assert_eq!(status.signal(), Some(6));
        assert_eq!(status.core_dumped(), dumps, "without `{without}`");
        assert_eq!(fs::read_dir(&directory).unwrap().count() > 0, dumps);
    }
}

#[tokio::test]
async fn the_dead_are_buried_while_others_work() {
    let orphans = "for i in $(seq 50); do (setsid sh -c 'exit 3' &); done; sleep 0.3; \
                   cat /proc/[0-9]*/stat 2>/dev/null | grep -c \") Z $PPID \"; true";
    let world = World::claimed(&[shell(orphans, 9_000)]);
    let mut child = world.start();
    assert_eq!(end_of(&mut child).await, Some(0));
    assert_eq!(answer(&world.results()[0]).stdout, "0\n");
}
