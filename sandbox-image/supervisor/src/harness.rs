//! The harness as a process: started without privileges and without a secret, told the brief on its
//! standard input, and ended with notice.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nightshift_protocol::Brief;
use rustix::process::{Pid, Signal, getpid, kill_process};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

use crate::{
    children::{Children, Waiting},
    config::Config,
    confine::landlock::Rules,
    exec_as::Become,
    hardening::Hardening,
    steps::Step,
};

/// Processes and threads that the harness's user may have; on a host where many sandboxes share
/// the user without a user namespace each, the kernel counts them together.
const PROCESSES: u64 = 8192;
/// Address space of the harness, in bytes.
const ADDRESS_BYTES: u64 = 8 << 30;
/// How large a file of the harness's may become, in bytes.
const FILE_BYTES: u64 = 1 << 30;

/// A harness that runs.
pub struct HarnessProcess {
    child: Child,
    pid: Pid,
    _waiting: Waiting,
}

impl HarnessProcess {
    /// Starts it. It waits for its brief.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(config: &Config, hardening: &Hardening, children: &Children) -> io::Result<Self> {
        let programs = config.harness.parent().map(Path::to_owned);
        let [home, session] = ["home", "session"].map(|name| config.volume.join(name));
        let harness = Become {
            id: config.harness_id(),
            processes: PROCESSES,
            address_bytes: ADDRESS_BYTES,
            file_bytes: FILE_BYTES,
            rules: Rules {
                read: programs.into_iter().chain([config.run.clone()]).collect(),
                write: vec![home, session, config.tmp.clone()],
            },
            groups: Vec::new(),
            parent: Some(Pid::as_raw(Some(getpid()))),
            leave_out: hardening.without(),
            command: vec![config.harness.clone().into()],
        };
        let mut command = Command::new(&config.me);
        command.args(harness.arguments());
        if hardening.has(Step::CleanStart) {
            command.env_clear();
        }
        let child = command
            .env("HOME", config.volume.join("home"))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("TMPDIR", &config.tmp)
            .env("NIGHTSHIFT_AGENT_SOCKET", config.agent_socket())
            .env("NIGHTSHIFT_SESSION_DIR", config.volume.join("session"))
            .current_dir(config.volume.join("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or_else(|| io::Error::other("it ended at once"))?;
        Ok(Self {
            child,
            pid,
            _waiting: children.wait_for(pid),
        })
    }

    /// Its process id.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Tells it what to do.
    ///
    /// # Errors
    /// It does not listen.
    pub async fn tell(&mut self, brief: &Brief) -> io::Result<()> {
        let json = serde_json::to_vec(brief)?;
        let mut stdin = self
            .child
            .stdin
            .take()
            .ok_or_else(|| io::Error::other("already told"))?;
        stdin.write_all(&json).await?;
        stdin.shutdown().await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The kernel lost it.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Lets it end on its own within `grace` after asking it to, and ends it then.
    ///
    /// # Errors
    /// The kernel lost it.
    pub async fn stop(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        let _ = kill_process(self.pid, Signal::TERM);
        if let Ok(ended) = tokio::time::timeout(grace, self.child.wait()).await {
            return ended;
        }
        self.child.kill().await?;
        self.child.wait().await
    }

    /// Ends its standard input without a brief and waits for its end: a harness that has nothing
    /// to do must say so by ending well.
    ///
    /// # Errors
    /// How it ended instead, in words.
    pub async fn dismiss(&mut self, patience: Duration) -> Result<(), String> {
        drop(self.child.stdin.take());
        match tokio::time::timeout(patience, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("the harness ended with {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!(
                "the harness did not end within {} s",
                patience.as_secs()
            )),
        }
    }
}

/// An exit code for how the harness ended: its own, or 128 and the number of the signal.
#[must_use]
pub fn exit_code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    status
        .code()
        .or(signal)
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1)
}
