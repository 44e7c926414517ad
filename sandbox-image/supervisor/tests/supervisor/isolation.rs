//! What harness and agent can do to the supervisor, and how everything ends.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    probe::{Action, shell},
    world::{World, end_of, has_uids, processes_with, until},
};

#[tokio::test]
async fn neither_harness_nor_agent_can_look_into_the_supervisor_or_end_it() {
    let world = World::claimed(&[]);
    let wait = || Action::WaitFor("pid".to_owned());
    // The supervisor's process id is only known once it runs; a link leads there.
    let read = |name: &str| Action::Read(world.path("supervisor").join(name));
    let supervisor = world.path("supervisor");
    let attack = format!(
        "cd -P {} || echo no way; for f in environ mem maps fd/0; do cat $f >/dev/null 2>&1 && \
         echo leaked $f; done; kill -0 $(basename $PWD) 2>/dev/null && echo killable; true",
        supervisor.display()
    );
    let actions = [
        wait(),
        read("mem"),
        read("environ"),
        read("maps"),
        shell(&attack, 9_000),
    ];
    world.platform.lock().unwrap().brief = Some(crate::world::brief(&actions));
    let mut child = world.start();
    let pid = child.id().unwrap();
    std::os::unix::fs::symlink(format!("/proc/{pid}"), &supervisor).unwrap();
    until(|| world.path("data/session").exists()).await;
    world.release("pid");
    assert_eq!(end_of(&mut child).await, Some(0), "{}", world.log());
    let results = world.results();
    for result in &results[1..4] {
        assert!(result.contains("Permission denied"), "{result}");
    }
    let body = results[4].split_once("\r\n\r\n").unwrap().1;
    assert!(!body.contains("leaked"), "{body}");
    if has_uids() {
        assert!(!body.contains("killable"), "{body}");
    }
}

#[tokio::test]
async fn the_harness_starts_with_a_clean_environment_and_clean_descriptors() {
    let world = World::claimed(&[Action::Self_]);
    // A descriptor that somebody up the chain forgot to close must not reach the harness.
    let script = world.path("leaky");
    let leaky = format!(
        "exec 9<{}; exec {}",
        script.display(),
        env!("CARGO_BIN_EXE_supervisor")
    );
    fs::write(&script, leaky).unwrap();
    let configured = world.command();
    let mut command = tokio::process::Command::new("/bin/sh");
    command
        .arg(&script)
        .env_clear()
        .env("SECRET_OF_THE_PLATFORM", "1")
        .kill_on_drop(true);
    for (name, value) in configured.as_std().get_envs() {
        command.env(name, value.unwrap());
    }
    let mut child = command.spawn().unwrap();
    assert_eq!(end_of(&mut child).await, Some(0));
    let seen = world.results()[0].clone();
    assert!(!seen.contains("SECRET_OF_THE_PLATFORM"), "{seen}");
    assert!(
        !seen.contains("NIGHTSHIFT_SESSION\"") && !seen.contains("GATEWAY"),
        "{seen}"
    );
    assert!(!seen.contains(script.to_str().unwrap()), "{seen}");
    assert!(seen.contains("NoNewPrivs:\t1") && seen.contains("CapEff:\t0000000000000000"));
    if has_uids() {
        assert!(seen.contains("Uid:\t1001\t1001\t1001\t1001"), "{seen}");
        assert!(seen.contains("Gid:\t1001\t1001\t1001\t1001"), "{seen}");
        assert!(seen.contains("CapBnd:\t0000000000000000"), "{seen}");
    }
}

#[tokio::test]
async fn asked_to_stop_it_ends_the_harness_and_everything_below() {
    let world = World::claimed(&[shell("true", 9_000), Action::WaitFor("never".to_owned())]);
    let mut child = world.start();
    world.until_done(1).await;
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(end_of(&mut child).await, Some(128 + 15), "{}", world.log());
    assert!(processes_with(world.directory.path().to_str().unwrap()).is_empty());
}

#[tokio::test]
async fn a_harness_that_ignores_the_wish_is_ended_after_the_grace() {
    let world = World::claimed(&[]);
    let stubborn = "#!/bin/sh\ntrap '' TERM\ncat >/dev/null\ntouch $NIGHTSHIFT_SESSION_DIR/up\n\
                    while true; do sleep 0.05; done\n";
    fs::write(world.path("harness"), stubborn).unwrap();
    let mut child = world.start();
    let up = world.path("data/session/up");
    until(|| up.exists()).await;
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(end_of(&mut child).await, Some(128 + 9), "{}", world.log());
}

#[tokio::test]
async fn a_program_whose_supervisor_is_gone_already_does_not_start() {
    let as_child_of = |parent: u32| {
        let mut late = tokio::process::Command::new(env!("CARGO_BIN_EXE_supervisor"));
        late.args([
            "exec-as",
            "--processes",
            "4096",
            "--address",
            "8589934592",
            "--file",
            "1",
        ])
        .args([
            "--parent",
            &parent.to_string(),
            "--",
            "/bin/echo",
            "started",
        ]);
        async move { String::from_utf8(late.output().await.unwrap().stdout).unwrap() }
    };
    assert_eq!(as_child_of(std::process::id()).await, "started\n");
    assert_eq!(as_child_of(1).await, "");
}

#[tokio::test]
async fn when_the_supervisor_is_killed_harness_and_shell_die_with_it() {
    let world = World::claimed(&[shell("true", 9_000), shell("exec sleep 5432.1", 60_000)]);
    let directory = world.directory.path().to_str().unwrap();
    let mut child = world.start();
    until(|| !processes_with("5432.1").is_empty() && world.results().len() == 1).await;
    child.kill().await.unwrap();
    until(|| processes_with(directory).is_empty() && processes_with("5432.1").is_empty()).await;
}
