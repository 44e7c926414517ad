//! Real processes behind the Runtime API host: this test binary, started again, is the function.
//!
//! The function runs on the same runtime crate as the product's, so what is tried here is the real client.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test that is started as another program is told so"
)]
#![expect(
    clippy::exit,
    clippy::print_stderr,
    reason = "the function dies and complains as functions do"
)]

mod front;
mod sample;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use nightshift_queues::runtime::{Function, FunctionError, Host, InvokeError, Owner};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The sample function, with room for `concurrency` instances.
fn sample(concurrency: usize, environment: &[(&str, &str)]) -> Function {
    Function {
        name: "sample".to_owned(),
        program: std::env::current_exe().unwrap(),
        arguments: ["--exact", "sample::function", "--nocapture"]
            .map(str::to_owned)
            .into(),
        environment: environment
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        timeout: Duration::from_secs(5),
        memory_mb: 256,
        reserved_concurrency: concurrency,
        before: None,
    }
}

fn host(logs: &Path, function: Function) -> Host {
    let owner = Owner {
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
    };
    Host::deploy(owner, vec![function], logs).unwrap()
}

struct Deployed {
    host: Host,
    logs: TempDir,
}

impl Deployed {
    fn new(function: Function) -> Self {
        let logs = tempfile::tempdir().unwrap();
        Self {
            host: host(logs.path(), function),
            logs,
        }
    }

    async fn ask(&self, question: Value) -> Value {
        let answer = self
            .host
            .invoke("sample", question.to_string().into())
            .await
            .unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn failure(&self, question: Value) -> FunctionError {
        match self
            .host
            .invoke("sample", question.to_string().into())
            .await
        {
            Err(InvokeError::Failed(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.logs.path().join("sample.log")).unwrap()
    }
}

/// The state letter of a process, as `/proc` has it: `T` is stopped.
fn state_of(pid: i64) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

async fn becomes(pid: i64, state: Option<char>) -> bool {
    for _ in 0..500 {
        if state_of(pid) == state {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn an_instance_answers_one_invocation_after_the_other() {
    let deployed = Deployed::new(sample(2, &[]));
    let first = deployed.ask(json!({"do": "tell"})).await;
    let second = deployed.ask(json!({"do": "tell"})).await;
    assert_eq!(first["pid"], second["pid"]);
    assert_ne!(first["request"], second["request"]);
    assert_eq!(
        first["arn"],
        "arn:aws:lambda:eu-west-1:123456789012:function:sample"
    );
    assert!(first["left_ms"].as_i64().unwrap() > 4_000, "{first}");
    assert!(first["left_ms"].as_i64().unwrap() <= 5_000, "{first}");
    assert!(
        first["trace"].as_str().unwrap().starts_with("Root=1-"),
        "{first}"
    );
}

#[tokio::test]
async fn a_function_sees_lambdas_environment_and_its_own_and_nothing_else() {
    let deployed = Deployed::new(sample(1, &[("GREETING", "hello")]));
    let told = deployed.ask(json!({"do": "environment"})).await;
    let seen = told.as_object().unwrap();
    for (name, value) in [
        ("GREETING", "hello"),
        ("AWS_LAMBDA_FUNCTION_NAME", "sample"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_REGION", "eu-west-1"),
        ("_HANDLER", "bootstrap"),
    ] {
        assert_eq!(seen[name], value, "{told}");
    }
    let strangers: Vec<&String> = seen
        .keys()
        .filter(|name| !name.starts_with("AWS_") && !name.starts_with("LAMBDA_"))
        .filter(|name| !["GREETING", "_HANDLER", "LANG", "TZ", "PATH"].contains(&name.as_str()))
        // The runtime crate sets this one itself.
        .filter(|name| *name != "_X_AMZN_TRACE_ID")
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    assert_eq!(deployed.ask(json!({"do": "folder"})).await, "/");
}

#[tokio::test]
async fn invocations_at_once_get_instances_of_their_own_up_to_the_reserved_concurrency() {
    let deployed = Deployed::new(sample(2, &[]));
    let slow = || deployed.ask(json!({"do": "sleep", "ms": 1_500}));
    let third = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        deployed.host.invoke("sample", "{}".into()).await
    };
    let (first, second, third) = tokio::join!(slow(), slow(), third);
    assert_ne!(first["pid"], second["pid"]);
    assert_eq!(third, Err(InvokeError::Throttled("sample".to_owned())));
    // And afterwards there is room again.
    let mut room = false;
    for _ in 0..100 {
        room |= deployed
            .host
            .invoke("sample", r#"{"do": "tell"}"#.into())
            .await
            .is_ok();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(room);
}

#[tokio::test]
async fn two_versions_are_in_service_side_by_side_each_with_its_own_environment() {
    let mut function = sample(2, &[("FORM", "new"), ("GREETING", "hello")]);
    function.before = Some(vec![("FORM".to_owned(), "old".to_owned())]);
    let deployed = Deployed::new(function);
    // The first instance is busy for so long that there is a second one.
    let (_, second) = tokio::join!(deployed.ask(json!({"do": "sleep", "ms": 1_500})), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        deployed.ask(json!({"do": "environment"})).await
    });
    assert_eq!(second["FORM"], "old", "{second}");
    assert_eq!(second["GREETING"], "hello", "{second}");
    assert_eq!(second["AWS_LAMBDA_FUNCTION_VERSION"], "1", "{second}");
    // The one that was used last is used next.
    let first = deployed.ask(json!({"do": "environment"})).await;
    assert_eq!(first["FORM"], "new", "{first}");
    assert_eq!(first["AWS_LAMBDA_FUNCTION_VERSION"], "2", "{first}");
    let began = |version: &str| {
        let log = deployed.log();
        let lines = log.lines().filter(|line| line.starts_with("START "));
        lines
            .filter(|line| line.ends_with(&format!("Version: {version}")))
            .count()
    };
    assert_eq!((began("1"), began("2")), (1, 2), "{}", deployed.log());
}

#[tokio::test]
async fn a_function_that_takes_too_long_is_killed_and_the_next_call_gets_a_new_one() {
    let mut function = sample(1, &[]);
    function.timeout = Duration::from_millis(800);
    let deployed = Deployed::new(function);
    let pid = deployed.ask(json!({"do": "tell"})).await["pid"]
        .as_i64()
        .unwrap();

    let began = Instant::now();
    let error = deployed.failure(json!({"do": "sleep", "ms": 60_000})).await;

    assert_eq!(error.kind, "Sandbox.Timedout");
    assert!(
        error.message.contains("Task timed out after 0.80 seconds"),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(becomes(pid, None).await, "the process still lives");
    let next = deployed.ask(json!({"do": "tell"})).await;
    assert_ne!(next["pid"].as_i64().unwrap(), pid);
}

#[tokio::test]
async fn a_crash_is_told_with_the_functions_last_words() {
    let deployed = Deployed::new(sample(1, &[]));
    let error = deployed
        .failure(json!({"do": "exit", "say": "the disk is on fire"}))
        .await;
    assert_eq!(error.kind, "Runtime.ExitError");
    assert!(
        error
            .message
            .ends_with("Runtime exited with error: exit status 7"),
        "{error}"
    );
    assert!(error.tail.contains("the disk is on fire"), "{error}");

    let error = deployed.failure(json!({"do": "abort"})).await;
    assert!(error.message.contains("signal: 6"), "{error}");
    assert!(
        deployed.log().contains("the disk is on fire"),
        "{}",
        deployed.log()
    );
    assert!(
        deployed.log().contains("REPORT RequestId: "),
        "{}",
        deployed.log()
    );
}

#[tokio::test]
async fn an_error_that_the_function_reports_leaves_its_instance_alive() {
    let deployed = Deployed::new(sample(1, &[]));
    let pid = deployed.ask(json!({"do": "tell"})).await["pid"].clone();
    let error = deployed
        .failure(json!({"do": "fail", "say": "no such pool"}))
        .await;
    assert!(error.message.contains("no such pool"), "{error}");
    assert_eq!(deployed.ask(json!({"do": "tell"})).await["pid"], pid);
}

#[tokio::test]
async fn a_function_that_cannot_get_ready_is_started_twice_and_told() {
    let deployed = Deployed::new(sample(1, &[("SAMPLE_INIT", "exit")]));
    let error = deployed.failure(json!({})).await;
    assert_eq!(error.kind, "Runtime.ExitError");
    assert!(error.tail.contains("SAMPLE_INIT says exit"), "{error}");
    assert_eq!(deployed.log().matches("SAMPLE_INIT says exit").count(), 2);

    let mut function = sample(1, &[]);
    function.program = "/nowhere/bootstrap".into();
    let error = Deployed::new(function).failure(json!({})).await;
    assert!(error.message.contains("exit status 127"), "{error}");
    assert!(error.tail.contains("/nowhere/bootstrap"), "{error}");
}

#[tokio::test]
async fn work_left_after_the_answer_does_not_run_until_the_next_event() {
    let deployed = Deployed::new(sample(1, &[]));
    let left = deployed.logs.path().join("left");
    let pid = deployed
        .ask(json!({"do": "leave", "ms": 400, "file": left}))
        .await["pid"]
        .as_i64()
        .unwrap();

    assert!(becomes(pid, Some('T')).await, "{:?}", state_of(pid));
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(!left.exists(), "it ran while it should have been frozen");

    // With the next event it thaws, and what was overdue runs beside it.
    deployed.ask(json!({"do": "sleep", "ms": 300})).await;
    assert!(left.exists());
    assert!(becomes(pid, Some('T')).await);
}

#[tokio::test]
async fn an_instance_killed_while_it_is_frozen_is_replaced_unnoticed() {
    let deployed = Deployed::new(sample(1, &[]));
    let pid = deployed.ask(json!({"do": "tell"})).await["pid"]
        .as_i64()
        .unwrap();
    assert!(becomes(pid, Some('T')).await);
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    // The process is over when the last of its threads is.
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    while state_of(pid).is_some_and(|state| state != 'Z') || threads() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let next = deployed.ask(json!({"do": "tell"})).await["pid"]
        .as_i64()
        .unwrap();
    assert_ne!(next, pid);
}

#[tokio::test]
async fn a_host_that_is_dropped_leaves_no_instance_behind() {
    let deployed = Deployed::new(sample(2, &[]));
    let pid = deployed.ask(json!({"do": "tell"})).await["pid"]
        .as_i64()
        .unwrap();
    assert!(becomes(pid, Some('T')).await);
    drop(deployed);
    let mut gone = false;
    for _ in 0..500 {
        gone = matches!(state_of(pid), None | Some('Z'));
        if gone {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(gone, "{:?}", state_of(pid));
}

/// Not a test: a host of its own, where the next test started this binary as one.
#[tokio::test]
async fn host_to_be_killed() {
    let Ok(file) = std::env::var("SAMPLE_HOST") else {
        return;
    };
    let deployed = Deployed::new(sample(1, &[]));
    let pid = deployed.ask(json!({"do": "tell"})).await["pid"]
        .as_i64()
        .unwrap();
    std::fs::write(file, pid.to_string()).unwrap();
    deployed.ask(json!({"do": "sleep", "ms": 60_000})).await;
}

#[tokio::test]
async fn a_host_that_is_killed_takes_its_busy_instances_along() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let mut host = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_to_be_killed"])
        .env("SAMPLE_HOST", &file)
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut pid = None;
    while pid.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        pid = std::fs::read_to_string(&file)
            .ok()
            .and_then(|pid| pid.parse().ok());
    }
    let pid = pid.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    host.kill().unwrap();
    host.wait().unwrap();
    // Whoever adopts it may take a while to notice that it is over.
    assert!(
        becomes(pid, None).await || state_of(pid) == Some('Z'),
        "{:?}",
        state_of(pid)
    );
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_end_the_invocation() {
    let deployed = Deployed::new(sample(1, &[]));
    let done = deployed.logs.path().join("done");
    deployed.ask(json!({"do": "tell"})).await;
    let question = json!({"do": "sleep", "ms": 500, "file": done}).to_string();
    let asked = deployed.host.invoke("sample", question.into());
    assert!(
        tokio::time::timeout(Duration::from_millis(100), asked)
            .await
            .is_err()
    );
    assert!(!done.exists());
    for _ in 0..500 {
        if done.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the invocation ended with its caller");
}

#[tokio::test]
async fn too_large_events_and_answers_are_refused() {
    let deployed = Deployed::new(sample(1, &[]));
    let event = vec![b' '; 7 * 1024 * 1024];
    let refused = deployed.host.invoke("sample", event.into()).await;
    assert!(
        matches!(refused, Err(InvokeError::TooLarge { .. })),
        "{refused:?}"
    );
    let error = deployed
        .failure(json!({"do": "large", "bytes": 7 * 1024 * 1024}))
        .await;
    assert_eq!(error.kind, "Function.ResponseSizeTooLarge");
    assert!(deployed.ask(json!({"do": "tell"})).await["pid"].is_i64());
    let unknown = deployed.host.invoke("other", "{}".into()).await;
    assert_eq!(unknown, Err(InvokeError::NotFound("other".to_owned())));
}
