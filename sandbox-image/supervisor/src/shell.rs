//! The agent's shell: one command at a time, as the agent's user, without any privilege, and
//! nothing of it is left when the answer goes out.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use rustix::process::{Pid, getpid};
use serde::{Deserialize, Serialize};
use tokio::{process::Command, sync::Mutex};

use crate::{
    cgroups::Cgroups,
    children::Children,
    config::Config,
    confine::landlock::Rules,
    descendants,
    exec_as::Become,
    forward::{AnswerBody, json, problem},
    hardening::Hardening,
    output::Output,
    steps::Step,
    usage::{self, Usage},
};

const REQUEST_BYTES: usize = 256 * 1024;
/// One argument of a program may have 128 KiB on Linux.
const COMMAND_BYTES: usize = 100 * 1024;
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
const MAX_TIMEOUT: Duration = Duration::from_mins(10);
/// How often a command's use of the machine is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// `POST /v1/shell`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellRequest {
    /// What the shell shall do.
    pub command: String,
    /// How long it may take, in milliseconds: 60,000 where nothing is said, at most 600,000.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// Why a command was ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TookTooMuch {
    /// Its files, or those before it, take more than they may.
    Disk,
    /// Its processes take more memory than they may.
    Memory,
    /// It wrote far more than anybody reads.
    Output,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellAnswer {
    /// Its exit code, 128 and the signal's number where a signal ended it, nothing where we did.
    pub exit_code: Option<i32>,
    /// The start of what it wrote to standard output.
    pub stdout: String,
    /// The start of what it wrote to standard error.
    pub stderr: String,
    /// Whether one of the two was cut.
    pub truncated: bool,
    /// Whether it was ended because it took too long.
    pub timed_out: bool,
    /// What it took too much of, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_too_much: Option<TookTooMuch>,
}

/// Where and as whom commands run.
pub struct Shell {
    me: PathBuf,
    agent: Become,
    directory: PathBuf,
    tmp: PathBuf,
    hardening: Arc<Hardening>,
    children: Children,
    /// Not ended together with a command's leftovers.
    spared: Pid,
    /// Commands run one at a time, so that all that is left when one ends is of that one. Holds what the
    /// files took after the last one.
    turn: Mutex<Option<Usage>>,
}

/// How a command's time came to an end.
enum End {
    Itself,
    TimedOut,
    TookTooMuch(TookTooMuch),
}

impl Shell {
    /// A shell that works on the volume and never ends `spared`, the harness.
    #[must_use]
    pub fn new(
        config: &Config,
        hardening: &Arc<Hardening>,
        children: Children,
        spared: Pid,
    ) -> Self {
        let directory = config.volume.join("work");
        let limits = hardening.limits();
        let groups = hardening.cgroups().map(|made| made.groups().to_vec());
        let agent = Become {
            id: config.agent_id(),
            processes: limits.processes,
            address_bytes: limits.address_bytes(groups.is_some()),
            file_bytes: limits.disk_bytes,
            rules: Rules {
                read: Vec::new(),
                write: vec![directory.clone(), config.tmp.clone()],
            },
            groups: groups.unwrap_or_default(),
            parent: Some(Pid::as_raw(Some(getpid()))),
            leave_out: hardening.without(),
            command: Vec::new(),
        };
        Self {
            me: config.me.clone(),
            agent,
            directory,
            tmp: config.tmp.clone(),
            hardening: Arc::clone(hardening),
            children,
            spared,
            turn: Mutex::new(None),
        }
    }

    /// Runs one command to its end, or ends it.
    ///
    /// # Errors
    /// The command could not be started.
    pub async fn run(&self, asked: &ShellRequest) -> std::io::Result<ShellAnswer> {
        let mut turn = self.turn.lock().await;
        let before = match *turn {
            Some(usage) => usage,
            None => self.usage().await,
        };
        let killed_before = self.killed_for_memory();
        let output = Output::within(self.hardening.has(Step::OutputCap), self.hardening.limits());
        let mut child = self.command(&asked.command).spawn()?;
        let _waiting = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .map(|p| self.children.wait_for(p));
        let stdout = tokio::spawn(Arc::clone(&output).keep_start(child.stdout.take()));
        let stderr = tokio::spawn(Arc::clone(&output).keep_start(child.stderr.take()));
        let end = tokio::select! {
            _ = child.wait() => End::Itself,
            () = self.time_limit(asked) => End::TimedOut,
            () = output.flooded() => End::TookTooMuch(TookTooMuch::Output),
            what = self.takes_too_much(&before) => End::TookTooMuch(what),
        };
        let left = descendants::end_all_but(Some(self.spared)).await;
        if left > 0 {
            tracing::warn!(left, "Processes of the agent's shell would not end");
        }
        let status = child.wait().await?;
        let (stdout, cut_out) = stdout.await.unwrap_or_default();
        let (stderr, cut_err) = stderr.await.unwrap_or_default();
        *turn = Some(self.usage().await);
        let killed = self.killed_for_memory() > killed_before;
        let took_too_much = match end {
            End::TookTooMuch(what) => Some(what),
            End::Itself | End::TimedOut => killed.then_some(TookTooMuch::Memory),
        };
        if let Some(what) = took_too_much {
            tracing::warn!(?what, "A command of the agent's took too much");
        }
        Ok(ShellAnswer {
            exit_code: matches!(end, End::Itself).then(|| code(status)),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            truncated: cut_out || cut_err,
            timed_out: matches!(end, End::TimedOut),
            took_too_much,
        })
    }

    async fn time_limit(&self, asked: &ShellRequest) {
        if !self.hardening.has(Step::WallClock) {
            std::future::pending::<()>().await;
        }
        let limit = asked
            .timeout_ms
            .map_or(DEFAULT_TIMEOUT, Duration::from_millis)
            .min(MAX_TIMEOUT);
        tokio::time::sleep(limit).await;
    }

    /// Comes when the agent's files or processes take more than they may.
    async fn takes_too_much(&self, before: &Usage) -> TookTooMuch {
        if !self.hardening.has(Step::UsageWatch) {
            std::future::pending::<()>().await;
        }
        let limits = self.hardening.limits();
        let was_full = usage::is_nearly_full(&self.directory);
        let mut pause = LOOK_EVERY;
        loop {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            if self.hardening.cgroups().is_none() {
                let own = descendants::living_but(self.spared);
                if usage::memory_of(&own) > limits.memory_bytes {
                    return TookTooMuch::Memory;
                }
            }
            let full = !was_full && usage::is_nearly_full(&self.directory);
            if full || self.usage().await.exceeds(limits, before) {
                return TookTooMuch::Disk;
            }
            // Looking takes at most a fifth of the time, however many files there are.
            pause = LOOK_EVERY.max(began.elapsed() * 4);
        }
    }

    async fn usage(&self) -> Usage {
        let (directory, tmp) = (self.directory.clone(), self.tmp.clone());
        let most = self.hardening.limits().files;
        let counting = move || Usage::of([directory.as_path(), tmp.as_path()], most * 2);
        tokio::task::spawn_blocking(counting)
            .await
            .unwrap_or_default()
    }

    fn killed_for_memory(&self) -> u64 {
        let groups = self.hardening.cgroups();
        groups.map_or(0, Cgroups::ended_for_memory)
    }

    fn command(&self, text: &str) -> Command {
        let shell = if std::path::Path::new("/bin/bash").exists() {
            "/bin/bash"
        } else {
            "/bin/sh"
        };
        let agent = Become {
            command: vec![shell.into(), "-c".into(), text.into()],
            ..self.agent.clone()
        };
        let mut command = Command::new(&self.me);
        command.args(agent.arguments());
        if self.hardening.has(Step::CleanStart) {
            command.env_clear();
        }
        command
            .env("HOME", &self.directory)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("TMPDIR", &self.tmp)
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
