//! Whatever ends the harness, and whenever: the next start goes on where it was.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nightshift_domain::MessageId;
use nightshift_protocol::{Brief, tools::casebook::InboxMessage};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

use crate::{
    fakes::Hold,
    model_fake::says,
    world::{World, ordinary_script},
};

async fn start(brief: &Brief, socket: &Path, session_dir: &Path) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_harness"))
        .env_clear()
        .env("NIGHTSHIFT_AGENT_SOCKET", socket)
        .env("NIGHTSHIFT_SESSION_DIR", session_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(&serde_json::to_vec(brief).unwrap())
        .await
        .unwrap();
    drop(stdin);
    child
}

async fn ended(child: &mut Child) -> ExitStatus {
    tokio::time::timeout(Duration::from_secs(30), child.wait())
        .await
        .unwrap()
        .unwrap()
}

fn world() -> World {
    let mut script = ordinary_script();
    script.push(says("Because the index is missing."));
    let world = World::new(script);
    world.fakes.case.lock().unwrap().inbox = vec![InboxMessage {
        message: MessageId::generate(),
        author: "Ada".to_owned(),
        text: "Why?".to_owned(),
        at: chrono::DateTime::UNIX_EPOCH,
    }];
    world
}

#[tokio::test]
async fn a_harness_killed_at_any_request_ends_with_the_same_transcript_and_one_report() {
    let calm = world();
    let mut child = start(&calm.brief, &calm.socket(), &calm.session_dir()).await;
    assert!(ended(&mut child).await.success());
    assert_eq!(
        (calm.reports().len(), calm.session().messages.len()),
        (1, 10)
    );
    let requests = calm.seen.len();
    assert!(requests > 15, "{requests}");

    for number in 1..=requests {
        for carried_out in [false, true] {
            // Never answered, so the harness is exactly here when it is killed.
            killed_at(
                Hold {
                    number,
                    carried_out,
                },
                &calm,
            )
            .await;
        }
    }
}

async fn killed_at(hold: Hold, calm: &World) {
    let mut world = world();
    world.brief = calm.brief.clone();
    *world.fakes.hold.lock().unwrap() = Some(hold);
    let mut child = start(&world.brief, &world.socket(), &world.session_dir()).await;
    let mut last = String::new();
    for _ in 0..hold.number {
        let seen = tokio::time::timeout(Duration::from_secs(30), world.seen.recv());
        last = seen.await.unwrap().unwrap();
    }
    child.kill().await.unwrap();

    let mut child = start(&world.brief, &world.socket(), &world.session_dir()).await;
    assert!(ended(&mut child).await.success(), "{hold:?} {last}");
    let (mut got, mut wanted) = (world.session(), calm.session());
    // The message from the person has another identity in every world.
    assert_eq!(got.answered.len(), 1);
    got.answered.clear();
    wanted.answered.clear();
    assert_eq!(got, wanted, "{hold:?} {last}");
    assert_eq!(world.reports(), calm.reports());
    let answers: Vec<String> = {
        let case = world.fakes.case.lock().unwrap();
        case.answers.iter().map(|(_, text)| text.clone()).collect()
    };
    assert_eq!(
        answers,
        ["Because the index is missing."],
        "{hold:?} {last}"
    );
    assert_eq!(world.violations(), [""; 0]);
    if last.starts_with("llm.test") {
        // All results were written down before the model was asked.
        assert_eq!(calls(&world), calls(calm), "{hold:?}");
    }
}

fn calls(world: &World) -> Vec<String> {
    let case = world.fakes.case.lock().unwrap();
    let mut names: Vec<_> = case.calls.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_harness_that_is_asked_to_stop_ends_at_once_and_goes_on_later() {
    let mut world = World::new(ordinary_script());
    world
        .fakes
        .case
        .lock()
        .unwrap()
        .slow
        .insert("query_logs".to_owned(), Duration::from_secs(20));
    let mut child = start(&world.brief, &world.socket(), &world.session_dir()).await;
    while !world.seen.recv().await.unwrap().ends_with("query_logs") {}
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::time::timeout(Duration::from_secs(5), child.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success());
    assert!(world.reports().is_empty());

    world.fakes.case.lock().unwrap().slow.clear();
    let mut child = start(&world.brief, &world.socket(), &world.session_dir()).await;
    assert!(ended(&mut child).await.success());
    assert_eq!(world.reports().len(), 1);
    assert_eq!(
        world.called("casebook.read_alert"),
        1,
        "what was done is not done again"
    );
}

#[tokio::test]
async fn a_harness_without_a_brief_ends_well_and_with_a_bad_one_does_not() {
    for (brief, code) in [(&b""[..], 0), (b"{}", 65)] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_harness"))
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(brief).await.unwrap();
        assert_eq!(ended(&mut child).await.code(), Some(code));
    }
}
