//! The tokens: added to the harness's requests, renewed in time, and nowhere to be found.

use std::fs;

use crate::{
    platform::EPOCH,
    probe::{Action, exchange, post},
    world::{World, end_of, files, has_uids, processes_with, until},
};

#[tokio::test]
async fn each_server_gets_its_own_token_in_place_of_what_the_caller_sent() {
    let hosts = [
        "telemetry.test",
        "codebase.test",
        "casebook.test",
        "llm.test",
    ];
    let mut actions: Vec<_> = hosts.iter().map(|host| post(host, host)).collect();
    actions.push(post("session.test", ""));
    actions.push(post("elsewhere.test", ""));
    actions.push(Action::Exit(5));
    let world = World::claimed(&actions);
    assert_eq!(world.run().await, Some(5), "{}", world.log());
    let results = world.results();
    for (host, result) in hosts.iter().zip(&results) {
        // The fake server serves only a request with its own token and no other.
        assert!(result.contains(&format!("served {host}")), "{result}");
    }
    for refused in &results[4..6] {
        assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    }
    let platform = world.platform.lock().unwrap();
    assert_eq!(
        platform.upstream.len(),
        hosts.len(),
        "other hosts were not even asked"
    );
    for (host, headers, _) in &platform.upstream {
        assert!(!headers.contains_key("x-api-key"), "{host}");
    }
    assert_eq!(platform.violations, [""; 0]);
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_request_repeated_once() {
    let wait = Action::WaitFor("expired".to_owned());
    let world = World::claimed(&[post("llm.test", "one"), wait, post("llm.test", "two")]);
    let mut child = world.start();
    world.until_done(1).await;
    world.platform.lock().unwrap().expire();
    world.release("expired");
    assert_eq!(end_of(&mut child).await, Some(0), "{}", world.log());
    let results = world.results();
    assert!(results[2].contains("served two"), "{}", results[2]);
    let platform = world.platform.lock().unwrap();
    assert_eq!((platform.refreshes, platform.upstream.len()), (1, 3));
    assert_eq!(platform.violations, [""; 0]);
}

#[tokio::test]
async fn a_server_that_refuses_the_fresh_token_too_has_the_last_word() {
    let world = World::claimed(&[post("wrong.test", ""), post("llm.test", "x")]);
    // The casebook's name leads to a server that knows no token.
    if let Some(brief) = &mut world.platform.lock().unwrap().brief {
        brief.endpoints.casebook = "http://wrong.test/mcp".to_owned();
    }
    assert_eq!(world.run().await, Some(0), "{}", world.log());
    assert!(
        world.results()[0].starts_with("HTTP/1.1 401"),
        "{}",
        world.results()[0]
    );
    assert!(world.results()[1].contains("served x"));
    assert_eq!(world.platform.lock().unwrap().refreshes, 1);
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end() {
    let wait = Action::WaitFor("renewed".to_owned());
    let world = World::claimed(&[wait, post("llm.test", "still")]);
    world.platform.lock().unwrap().life_ms = 2_000;
    let mut child = world.start();
    until(|| world.platform.lock().unwrap().refreshes >= 2).await;
    world.release("renewed");
    assert_eq!(end_of(&mut child).await, Some(0));
    assert!(world.results()[1].contains("served still"));
    assert_eq!(world.violations(), [""; 0]);
}

#[tokio::test]
async fn a_machine_whose_clock_is_wrong_proves_its_requests_all_the_same() {
    for ahead_seconds in [-86_400, 7_200] {
        let world = World::claimed(&[post("llm.test", "one"), post("telemetry.test", "two")]);
        world.platform.lock().unwrap().ahead_seconds = ahead_seconds;
        assert_eq!(world.run().await, Some(0), "{}", world.log());
        assert!(world.results()[0].contains("served one"));
        assert!(world.results()[1].contains("served two"));
        assert_eq!(world.violations(), [""; 0]);
    }
}

#[tokio::test]
async fn a_run_that_is_superseded_ends_with_its_harness() {
    let world = World::claimed(&[
        post("llm.test", "one"),
        Action::WaitFor("expired".to_owned()),
        post("llm.test", "two"),
        Action::WaitFor("never".to_owned()),
    ]);
    let mut child = world.start();
    world.until_done(1).await;
    {
        let mut platform = world.platform.lock().unwrap();
        platform.expire();
        platform.refuse_refresh = vec![(410, "superseded")];
    }
    world.release("expired");
    assert_eq!(end_of(&mut child).await, Some(75), "{}", world.log());
    assert!(processes_with(world.directory.path().to_str().unwrap()).is_empty());
    assert_eq!(EPOCH.0, 3);
}

#[tokio::test]
async fn no_token_is_in_a_file_an_environment_or_a_command_line() {
    let world = World::claimed(&[
        post("llm.test", "one"),
        crate::probe::shell(
            "echo marker-in-a-file > note; env > env; ps aux > ps 2>&1; true",
            9_000,
        ),
        Action::Self_,
        Action::WaitFor("searched".to_owned()),
        crate::probe::shell("sleep 31.4159", 500),
    ]);
    let mut child = world.start();
    world.until_done(3).await;
    let found = search(&world, child.id().unwrap());
    assert_eq!(found, [""; 0]);
    // The search can fail: what is there, it finds.
    fs::write(
        world.path("data/planted"),
        &world.platform.lock().unwrap().issued[0],
    )
    .unwrap();
    assert_eq!(search(&world, child.id().unwrap()).len(), 1);
    fs::remove_file(world.path("data/planted")).unwrap();
    world.release("searched");
    assert_eq!(end_of(&mut child).await, Some(0));
    assert_eq!(
        search(&world, std::process::id()),
        [""; 0],
        "and none is left behind"
    );
}

/// Where tokens and statements are found: in the sandbox's files, in the environments and command
/// lines of every process below the supervisor, and in what the probe wrote down about itself.
fn search(world: &World, supervisor: u32) -> Vec<String> {
    let mut secrets = world.platform.lock().unwrap().issued.clone();
    assert!(secrets.len() >= 4);
    secrets.push("canary-statement".to_owned());
    let mut places = files(&world.path("data"));
    places.extend(files(&world.path("run")));
    places.push(world.path("log"));
    let directory = world.directory.path().to_str().unwrap();
    let mut processes = processes_with(directory);
    processes.push(format!("/proc/{supervisor}").into());
    for process in processes {
        // The test's own program holds the tokens, in its memory.
        if !process.ends_with(std::process::id().to_string()) {
            places.extend([process.join("environ"), process.join("cmdline")]);
        }
    }
    let holds = |place: &std::path::PathBuf| {
        let bytes = fs::read(place).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        secrets.iter().any(|secret| text.contains(secret))
    };
    places
        .iter()
        .filter(|place| holds(place))
        .map(|place| place.display().to_string())
        .collect()
}

#[tokio::test]
async fn nobody_but_the_harness_is_answered_on_its_socket() {
    let wait = Action::WaitFor("tried".to_owned());
    let connect = |world: &World| {
        format!(
            "NIGHTSHIFT_PROBE=connect:{} ./probe probe::play --exact >/dev/null && cat connected",
            world.agent_socket().display(),
        )
    };
    let world = World::claimed(&[]);
    let work = world.path("data/work");
    fs::create_dir(&work).unwrap();
    fs::copy(world.path("probe"), work.join("probe")).unwrap();
    let actions = [
        post("llm.test", "mine"),
        wait,
        crate::probe::shell(&connect(&world), 9_000),
    ];
    world.platform.lock().unwrap().brief = Some(crate::world::brief(&actions));
    let mut child = world.start();
    world.until_done(1).await;
    // Root, or the same user: another process than the harness all the same.
    let socket = world.agent_socket();
    let tried = exchange(&socket, &post("llm.test", "not mine"));
    assert!(!tried.unwrap_or_default().contains("HTTP"));
    if has_uids() {
        // The harness's own user, but another process.
        let mut other = tokio::process::Command::new(env!("CARGO_BIN_EXE_supervisor"));
        other
            .args(["exec-as", "--id", "1001", "--processes", "4096"])
            .args(["--address", "8589934592", "--file", "1048576"])
            .arg("--write")
            .arg(world.directory.path())
            .arg("--")
            .args([
                world.path("probe").to_str().unwrap(),
                "probe::play",
                "--exact",
            ])
            .env("NIGHTSHIFT_PROBE", format!("connect:{}", socket.display()))
            .current_dir(world.path("data/session"));
        assert!(other.output().await.unwrap().status.success());
        let tried = fs::read_to_string(world.path("data/session/connected")).unwrap();
        assert!(!tried.contains("HTTP"), "{tried}");
    }
    world.release("tried");
    assert_eq!(end_of(&mut child).await, Some(0), "{}", world.log());
    let agent = world.results()[2].clone();
    assert!(
        agent.contains("Permission denied") || !has_uids(),
        "{agent}"
    );
    assert!(
        agent.contains("\\\"\\\"") || agent.contains("Err"),
        "{agent}"
    );
    let platform = world.platform.lock().unwrap();
    assert_eq!(
        platform.upstream.len(),
        1,
        "only the harness's request went out"
    );
}
