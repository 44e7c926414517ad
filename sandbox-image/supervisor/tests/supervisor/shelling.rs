//! The agent's shell: whom it runs as, what it leaves behind, and how it is ended.

use nightshift_supervisor::shell::ShellAnswer;

use crate::{
    probe::{Action, shell},
    world::{World, end_of, has_uids, processes_with},
};

pub(crate) fn answer(result: &str) -> ShellAnswer {
    let (head, body) = result.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{result}");
    serde_json::from_str(body).unwrap()
}

async fn run(commands: &[(&str, u64)]) -> (World, Vec<ShellAnswer>) {
    let actions: Vec<_> = commands
        .iter()
        .map(|(command, ms)| shell(command, *ms))
        .collect();
    let world = World::claimed(&actions);
    assert_eq!(world.run().await, Some(0), "{}", world.log());
    let answers = world
        .results()
        .iter()
        .map(|result| answer(result))
        .collect();
    (world, answers)
}

#[tokio::test]
async fn a_command_runs_as_the_agent_without_any_privilege() {
    let (world, answers) = run(&[
        (
            "id -u; id -G; pwd; grep -E '^(Cap|NoNewPrivs)' /proc/self/status",
            9_000,
        ),
        ("env; ls /proc/self/fd | wc -l", 9_000),
        ("echo out; echo err >&2; exit 3", 9_000),
    ])
    .await;
    let first = &answers[0].stdout;
    if has_uids() {
        assert!(first.starts_with("1002\n1002\n"), "{first}");
    }
    assert!(
        first.contains(world.path("data/work").to_str().unwrap()),
        "{first}"
    );
    let capabilities: Vec<_> = first
        .lines()
        .filter(|line| line.starts_with("Cap"))
        .collect();
    assert_eq!(capabilities.len(), 5);
    for line in capabilities {
        let bounding = line.starts_with("CapBnd") && !has_uids();
        assert!(line.ends_with("0000000000000000") || bounding, "{line}");
    }
    assert!(first.contains("NoNewPrivs:\t1"), "{first}");

    let environment = &answers[1].stdout;
    assert!(!environment.contains("NIGHTSHIFT"), "{environment}");
    assert!(
        environment.ends_with("\n4\n"),
        "0 to 2 and the one of `ls`: {environment}"
    );

    let third = &answers[2];
    assert_eq!((third.exit_code, third.stdout.as_str()), (Some(3), "out\n"));
    assert_eq!(third.stderr, "err\n");
    assert!(!third.timed_out && !third.truncated);
}

#[tokio::test]
async fn a_command_that_takes_too_long_ends_with_everything_it_started() {
    // One child in the background, one in a session of its own, one that lost its parents.
    let command = "sleep 7654.321 & setsid sleep 7654.321 & (setsid sh -c 'sleep 7654.321 &' &); \
                   sleep 7654.321";
    let (_, answers) = run(&[(command, 700), ("echo next", 9_000)]).await;
    assert!(answers[0].timed_out);
    assert_eq!(answers[0].exit_code, None);
    assert_eq!(answers[1].stdout, "next\n");
    assert!(processes_with("7654.321").is_empty());
}

#[tokio::test]
async fn what_a_command_leaves_in_the_background_does_not_outlive_it() {
    let wait = Action::WaitFor("looked".to_owned());
    let command = shell("setsid sleep 8765.432 & echo started", 9_000);
    let world = World::claimed(&[command, wait]);
    let mut child = world.start();
    world.until_done(1).await;
    assert_eq!(answer(&world.results()[0]).stdout, "started\n");
    assert!(processes_with("8765.432").is_empty());
    world.release("looked");
    assert_eq!(end_of(&mut child).await, Some(0));
}

#[tokio::test]
async fn long_output_is_cut_and_says_so() {
    let (_, answers) = run(&[(
        "head -c 300000 /dev/zero | tr '\\0' x; echo short >&2",
        9_000,
    )])
    .await;
    assert_eq!(answers[0].stdout.len(), 65_536);
    assert_eq!(answers[0].stderr, "short\n");
    assert!(answers[0].truncated);
    assert_eq!(answers[0].exit_code, Some(0));
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_the_next_one_served() {
    let mut bad = shell("true", 1_000);
    if let Action::Post { body, .. } = &mut bad {
        *body = "{}".to_owned();
    }
    let world = World::claimed(&[bad, shell("echo fine", 9_000)]);
    assert_eq!(world.run().await, Some(0));
    assert!(
        world.results()[0].starts_with("HTTP/1.1 400"),
        "{}",
        world.results()[0]
    );
    assert_eq!(answer(&world.results()[1]).stdout, "fine\n");
}

#[tokio::test]
async fn the_agent_reaches_neither_the_gateway_nor_the_harnesss_files() {
    let world = World::claimed(&[]);
    let [gateway, session] = ["run/gateway.sock", "data/session"].map(|name| world.path(name));
    let command = format!(
        "test -S {} && echo gateway; ls {} && echo session; touch ../here && echo volume; true",
        gateway.display(),
        session.display()
    );
    world.platform.lock().unwrap().brief = Some(crate::world::brief(&[shell(&command, 9_000)]));
    assert_eq!(world.run().await, Some(0), "{}", world.log());
    let said = answer(&world.results()[0]).stdout;
    // With one user id for all there is nothing to keep it away by.
    assert_eq!(said.is_empty(), has_uids(), "{said}");
}
