//! The senders of alerts: each sends its own until it is accepted, as senders do.

use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nightshift_stack::Stack;
use tokio::{process::Command, time};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(40);
/// The pause before the next one.
const PAUSE: Duration = Duration::from_millis(700);
/// How long a sender keeps trying.
const PATIENCE: Duration = Duration::from_mins(5);

/// An alert that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The sender's own name of what is wrong.
    pub(crate) key: String,
    /// Attempts that failed.
    pub(crate) refused: usize,
}

/// Sends alert number `number` until it is accepted.
pub(crate) async fn send(stack: Arc<Stack>, number: usize) -> Result<Sent> {
    let key = format!("chaos-{number}");
    let body = format!(
        r#"{{"id": "{key}", "title": "Thing {number} is slow", "service": "thing-{number}"}}"#
    );
    send_body(stack, key, body).await
}

/// Sends an alert whose sender calls it `key` until it is accepted.
pub(crate) async fn send_body(stack: Arc<Stack>, key: String, body: String) -> Result<Sent> {
    let file = stack.local().join(format!("{key}.json"));
    std::fs::write(&file, body)?;
    let file = file.to_str().context("not a path of text")?.to_owned();
    let began = Instant::now();
    let mut refused = 0;
    loop {
        let mut command =
            Command::from(stack.command(&["alerts", "send", "--source", "generic", &file]));
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let said = match time::timeout(ATTEMPT, command.output()).await {
            Ok(output) => {
                let output = output?;
                if output.status.success() {
                    return Ok(Sent { key, refused });
                }
                String::from_utf8_lossy(&output.stderr).trim().to_owned()
            }
            Err(_) => "no answer".to_owned(),
        };
        refused += 1;
        if began.elapsed() > PATIENCE {
            bail!("{key} was not accepted in {refused} attempts: {said}");
        }
        time::sleep(PAUSE).await;
    }
}
