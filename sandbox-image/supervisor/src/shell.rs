//! The agent's shell: one command at a time, as the agent's user, without any privilege, and
//! nothing of it is left when the answer goes out.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    sync::Mutex,
};

use crate::{
    children::Children,
    config::Config,
    descendants,
    exec_as::Become,
    forward::{AnswerBody, json, problem},
};

/// Bytes of each stream that an answer holds.
pub const OUTPUT_BYTES: usize = 64 * 1024;

const REQUEST_BYTES: usize = 256 * 1024;
/// One argument of a program may have 128 KiB on Linux.
const COMMAND_BYTES: usize = 100 * 1024;
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
const MAX_TIMEOUT: Duration = Duration::from_mins(10);
/// Processes and threads that the agent's user may have.
const PROCESSES: u64 = 512;

/// `POST /v1/shell`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellRequest {
    /// What the shell shall do.
    pub command: String,
    /// How long it may take, in milliseconds: 60,000 where nothing is said, at most 600,000.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellAnswer {
    /// Its exit code, 128 and the signal's number where a signal ended it, nothing where it ran out
    /// of time.
    pub exit_code: Option<i32>,
    /// The start of what it wrote to standard output.
    pub stdout: String,
    /// The start of what it wrote to standard error.
    pub stderr: String,
    /// Whether one of the two was cut.
    pub truncated: bool,
    /// Whether it was ended because it took too long.
    pub timed_out: bool,
}

/// Where and as whom commands run.
pub struct Shell {
    me: PathBuf,
    id: Option<u32>,
    directory: PathBuf,
    children: Children,
    /// Not ended together with a command's leftovers.
    spared: Pid,
    /// Commands run one at a time, so that all that is left when one ends is of that one.
    turn: Mutex<()>,
}

impl Shell {
    /// A shell that works on the volume and never ends `spared`, the harness.
    #[must_use]
    pub fn new(config: &Config, children: Children, spared: Pid) -> Self {
        Self {
            me: config.me.clone(),
            id: config.agent_id(),
            directory: config.volume.join("work"),
            children,
            spared,
            turn: Mutex::new(()),
        }
    }

    /// Runs one command to its end, or ends it.
    ///
    /// # Errors
    /// The command could not be started.
    pub async fn run(&self, asked: &ShellRequest) -> std::io::Result<ShellAnswer> {
        let _turn = self.turn.lock().await;
        let limit = asked
            .timeout_ms
            .map_or(DEFAULT_TIMEOUT, Duration::from_millis)
            .min(MAX_TIMEOUT);
        let mut child = self.command(&asked.command).spawn()?;
        let _waiting = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .map(|p| self.children.wait_for(p));
        let stdout = tokio::spawn(keep_start(child.stdout.take()));
        let stderr = tokio::spawn(keep_start(child.stderr.take()));
        let timed_out = tokio::time::timeout(limit, child.wait()).await.is_err();
        let left = descendants::end_all_but(Some(self.spared)).await;
        if left > 0 {
            tracing::warn!(left, "Processes of the agent's shell would not end");
        }
        let status = child.wait().await?;
        let (stdout, cut_out) = stdout.await.unwrap_or_default();
        let (stderr, cut_err) = stderr.await.unwrap_or_default();
        Ok(ShellAnswer {
            exit_code: (!timed_out).then(|| code(status)),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            truncated: cut_out || cut_err,
            timed_out,
        })
    }

    fn command(&self, text: &str) -> Command {
        let shell = if std::path::Path::new("/bin/bash").exists() {
            "/bin/bash"
        } else {
            "/bin/sh"
        };
        let agent = Become {
            id: self.id,
            processes: PROCESSES,
            command: vec![shell.into(), "-c".into(), text.into()],
        };
        let mut command = Command::new(&self.me);
        command
            .args(agent.arguments())
            .env_clear()
            .env("HOME", &self.directory)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// The first bytes of a stream, and whether there were more. Reads to the end, so that a program
/// that writes much is not stopped by a full pipe.
async fn keep_start(stream: Option<impl AsyncRead + Unpin>) -> (Vec<u8>, bool) {
    let Some(mut stream) = stream else {
        return (Vec::new(), false);
    };
    let mut kept = Vec::new();
    let mut cut = false;
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        let room = OUTPUT_BYTES - kept.len();
        kept.extend_from_slice(&chunk[..read.min(room)]);
        cut |= read > room;
    }
    (kept, cut)
}

/// Answers `POST /v1/shell`.
pub async fn answer(shell: &Arc<Shell>, request: Request<Incoming>) -> Response<AnswerBody> {
    let Ok(body) = Limited::new(request.into_body(), REQUEST_BYTES)
        .collect()
        .await
    else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
    };
    let asked: ShellRequest = match serde_json::from_slice(&body.to_bytes()) {
        Ok(asked) => asked,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if asked.command.len() > COMMAND_BYTES || asked.command.contains('\0') {
        return problem(
            StatusCode::BAD_REQUEST,
            "the command is too long or contains a zero byte",
        );
    }
    // A task of its own: a caller that goes away must not leave a half-ended command behind.
    let shell = Arc::clone(shell);
    let done = tokio::spawn(async move { shell.run(&asked).await }).await;
    match done.map(|answer| answer.map(serde_json::to_value)) {
        Ok(Ok(Ok(answer))) => json(StatusCode::OK, "application/json", &answer),
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "Could not run a command of the agent's");
            problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the command could not be started",
            )
        }
        Ok(Ok(Err(_))) | Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the command's end got lost",
        ),
    }
}
