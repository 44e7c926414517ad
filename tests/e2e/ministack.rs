//! The same incidents through the zips that are deployed, in an emulator of AWS that is not ours. Needs
//! ministack and the zips: `./dev test --ministack` brings both.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nightshift_stack::Stack;
use serde_json::{Value, json};

/// The queue that gets a message which nobody can read.
const QUEUE: &str = "nightshift-pool-refill";
/// How long it takes until a message that fails each time is given up, at most: four pauses that grow to five minutes.
const GIVEN_UP: Duration = Duration::from_mins(8);
/// No step of any version.
const POISON: &str = r#"{"v": 2, "step": {"kind": "refill", "pool": "poison"}}"#;

#[test]
#[ignore = "./dev test --ministack runs it, with what it needs"]
fn incidents_and_a_poison_message_go_through_zips_mappings_and_dead_letters() -> Result<()> {
    let url = address()?;
    let zips = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../.local/zips")
        .canonicalize()?;
    let zips = zips.to_str().context("not a path of text")?;
    let stack = Stack::up(&[
        "--pool",
        "2",
        "--lambda",
        "--sweep-seconds",
        "10",
        "--aws",
        &url,
        "--zips",
        zips,
    ])?;

    super::every_recording_is_correct(&stack)?;

    let queue = json!(format!("{url}/000000000000/{QUEUE}"));
    sqs(
        &url,
        "SendMessage",
        &json!({"QueueUrl": queue, "MessageBody": POISON}),
    )?;
    let letter = dead_letter(&stack, |letters| letters.first().cloned())?;
    is_the_poison(&letter)?;
    let shown = stack.program(&["dead-letters", "list"])?;
    ensure!(shown.contains("refill"), "people are shown it: {shown}");
    stack.program(&["dead-letters", "redrive", &letter["id"].to_string()])?;
    // It went out again. Being poison it will be given up once more, as another letter, in as many minutes.
    dead_letter(&stack, |letters| {
        letters
            .iter()
            .all(|now| now["id"] != letter["id"])
            .then_some(Value::Null)
    })?;
    stack.end()
}

/// A letter of what we sent, after every reception that its queue allows.
fn is_the_poison(letter: &Value) -> Result<()> {
    ensure!(letter["kind"] == "refill", "{letter}");
    ensure!(letter["payload"] == POISON, "{letter}");
    ensure!(letter["attempts"].as_i64() >= Some(5), "{letter}");
    let error = letter["last_error"].as_str().unwrap_or_default();
    ensure!(
        error.contains("taken from pool-refill-dead") && error.contains("cannot be read"),
        "{letter}"
    );
    Ok(())
}

/// Waits until the parked steps answer the question.
fn dead_letter(stack: &Stack, question: impl Fn(&[Value]) -> Option<Value>) -> Result<Value> {
    let began = Instant::now();
    loop {
        let listed = stack.program(&["dead-letters", "list", "--json"])?;
        let letters: Vec<Value> = serde_json::from_str(&listed).unwrap_or_default();
        if let Some(answer) = question(&letters) {
            return Ok(answer);
        }
        ensure!(began.elapsed() < GIVEN_UP, "dead letters: {letters:?}");
        thread::sleep(Duration::from_secs(1));
    }
}

/// One call of SQS. Nobody checks the signature, but services are told apart by it.
fn sqs(url: &str, action: &str, request: &Value) -> Result<()> {
    let host = url.trim_start_matches("http://");
    let body = request.to_string();
    let scope = "000000000000/20260101/eu-west-1/sqs/aws4_request";
    let mut connection = TcpStream::connect(host)?;
    write!(
        connection,
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AmazonSQS.{action}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{action}: {answer}");
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the test's whole configuration"
)]
fn address() -> Result<String> {
    std::env::var("NIGHTSHIFT_MINISTACK_URL").context("NIGHTSHIFT_MINISTACK_URL is not set")
}
