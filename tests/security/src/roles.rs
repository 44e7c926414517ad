//! The other programs that this one is when it is told so: the supervisor and the harness inside a sandbox, and
//! machined outside. So a build with switches makes no program that anybody could take for the real one.

use std::{
    ffi::OsString,
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;
use nightshift_controls::without;
use nightshift_machined::{Args, serve, stage};
use nightshift_supervisor::{
    entry,
    steps::{Step, Steps},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli;

/// Where the harness of a sandbox finds what it obeys.
pub(crate) const ORDERS: &str = "/opt/nightshift/bin/orders";
/// Begins the line of a machine's log that tells what came of an order.
pub(crate) const RESULT: &str = "RESULT ";

/// Characters of a command's output that are told.
const MOST_TOLD: usize = 2_000;

/// What a hostile harness does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Whether the agent's shell does it, and not the harness itself.
    pub(crate) as_agent: bool,
    /// What the shell does.
    pub(crate) command: String,
    /// How long it may take, in milliseconds.
    pub(crate) timeout_ms: u64,
}

/// Plays a role, if the command line begins with one.
pub(crate) fn played() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    match arguments.peek()?.to_str()? {
        "exec-as" => Some(entry::main(arguments, Steps::NONE)),
        "supervise" => Some(entry::main(arguments.skip(1), left_out())),
        "obey" => Some(ended("obey", obey())),
        "machined" => Some(ended("machined", machined(arguments))),
        _ => None,
    }
}

fn ended(role: &str, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::complain(&format!("{role}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The supervisor's steps among the controls that this process does without.
fn left_out() -> Steps {
    let mut left_out = Steps::NONE;
    for control in without() {
        for step in Step::ALL
            .into_iter()
            .filter(|step| step.as_str() == control.name())
        {
            left_out.add(step);
        }
    }
    left_out
}

fn machined(arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let args = stage(Args::parse_from(arguments))?;
    let config = args.configure()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(config, true))?;
    runtime.shutdown_background();
    Ok(())
}

/// A harness that has no mind of its own.
fn obey() -> Result<()> {
    let mut brief = Vec::new();
    std::io::stdin().read_to_end(&mut brief)?;
    if brief.is_empty() {
        return Ok(());
    }
    let order: Order = serde_json::from_str(&fs::read_to_string(ORDERS)?)?;
    let result = if order.as_agent {
        by_agent(&order)?
    } else {
        let output = Command::new("/bin/sh")
            .args(["-c", &order.command])
            .output()?;
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    };
    cli::complain(&format!("{RESULT}{}", json!(result)));
    Ok(())
}

/// Asks the supervisor to do it in the agent's shell.
fn by_agent(order: &Order) -> Result<String> {
    let socket = std::env::var_os("NIGHTSHIFT_AGENT_SOCKET").context("there is no agent socket")?;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(40)))?;
    let body = json!({ "command": order.command, "timeout_ms": order.timeout_ms }).to_string();
    write!(
        stream,
        "POST /v1/shell HTTP/1.1\r\nHost: supervisor.local\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .context("the supervisor said nothing")?;
    let mut body: serde_json::Value = serde_json::from_str(body)?;
    for stream in ["stdout", "stderr"] {
        // What an order comes to stands at its end.
        let text: Vec<char> = body[stream].as_str().unwrap_or_default().chars().collect();
        body[stream] = text[text.len().saturating_sub(MOST_TOLD)..]
            .iter()
            .collect::<String>()
            .into();
    }
    Ok(body.to_string())
}
