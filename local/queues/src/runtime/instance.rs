//! One instance of a function: a process, and what its runtime said last.
//!
//! ```text
//! started ─ next ─► frozen ─ event ─► busy ─ answer or error ─► finishing ─ next ─► frozen
//!    │                                 │                            │
//!    └─ init error, exit, 10 s         └─ exit, timeout             └─ exit, timeout:  gone
//! ```

use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Child,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use super::{
    Function, Owner,
    api::{self, Call, Event},
    deploy::Version,
    failure::Ailment,
    nursery::{Nursery, dies_with_its_parent},
    tail::{Log, Tail},
};

/// How long the last words of a process that is gone are waited for. What it started may hold its output open for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A process of a function. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Instance {
    child: Child,
    calls: mpsc::Receiver<Call>,
    server: JoinHandle<()>,
    /// Its runtime waits for an event.
    ready: Option<oneshot::Sender<Event>>,
    /// What it printed last.
    tail: Tail,
    /// The readers of what it prints.
    readers: Vec<JoinHandle<()>>,
    /// The version of its function.
    pub(super) version: Version,
}

/// What was heard of an instance first.
enum Heard {
    Call(Call),
    Exited(Option<ExitStatus>),
    TooLate,
}

impl Instance {
    /// Starts the process.
    pub(super) async fn start(
        function: &Function,
        owner: &Owner,
        nursery: &Nursery,
        log: &Log,
        stream: &str,
        version: Version,
    ) -> Result<Self, Ailment> {
        let not_started = |error: std::io::Error| {
            Ailment::NotStarted(format!(
                "cannot start {}: {error}",
                function.program.display()
            ))
        };
        let (address, calls, server) = api::serve().await.map_err(not_started)?;
        let mut command = dies_with_its_parent(&function.program);
        command
            .args(&function.arguments)
            .env_clear()
            .envs(function.variables(owner, &address.to_string(), stream, version))
            // Whoever relies on the folder it is started in does not run on Lambda.
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = nursery.spawn(command).await.map_err(not_started)?;
        let tail = Tail::default();
        let printed = child.stdout.take();
        let printed = printed.map(|output| tail.follow(output, log.clone()));
        let complained = child.stderr.take();
        let complained = complained.map(|output| tail.follow(output, log.clone()));
        Ok(Self {
            child,
            calls,
            server,
            ready: None,
            tail,
            readers: printed.into_iter().chain(complained).collect(),
            version,
        })
    }

    /// Waits until it asks for its first event, and freezes it.
    pub(super) async fn get_ready(&mut self, patience: Duration) -> Result<(), Ailment> {
        let until = Instant::now() + patience;
        loop {
            match self.hear(until).await {
                Heard::Call(Call::Next(ready)) => {
                    self.freeze(ready);
                    return Ok(());
                }
                Heard::Call(Call::InitFailure {
                    kind,
                    message,
                    taken,
                }) => {
                    let _ = taken.send(true);
                    return Err(Ailment::Reported { kind, message });
                }
                // There is no invocation that this could be about.
                Heard::Call(Call::Answer { taken, .. } | Call::Failure { taken, .. }) => {
                    let _ = taken.send(false);
                }
                Heard::Exited(status) => return Err(Ailment::Exited(status)),
                Heard::TooLate => return Err(Ailment::TimedOut(patience)),
            }
        }
    }

    /// Thaws it and carries out one invocation until the function answers.
    pub(super) async fn perform(
        &mut self,
        event: Event,
        patience: Duration,
    ) -> Result<Bytes, Ailment> {
        let until = Instant::now() + patience;
        let request = event.request.clone();
        self.thaw(event);
        loop {
            match self.hear(until).await {
                Heard::Call(Call::Answer {
                    request: about,
                    body,
                    taken,
                }) => {
                    let expected = about == request;
                    let _ = taken.send(expected);
                    if expected {
                        return body.ok_or(Ailment::AnswerTooLarge);
                    }
                }
                Heard::Call(Call::Failure {
                    request: about,
                    kind,
                    message,
                    taken,
                }) => {
                    let expected = about == request;
                    let _ = taken.send(expected);
                    if expected {
                        return Err(Ailment::Reported { kind, message });
                    }
                }
                Heard::Call(Call::InitFailure { taken, .. }) => {
                    let _ = taken.send(false);
                }
                // A runtime that asks for more without having answered never will: Lambda lets it wait.
                Heard::Call(Call::Next(ready)) => self.ready = Some(ready),
                Heard::Exited(status) => return Err(Ailment::Exited(status)),
                Heard::TooLate => return Err(Ailment::TimedOut(patience)),
            }
        }
    }

    /// After an answer: waits until it asks for the next event, and freezes it. `false` if it is of no
    /// more use.
    pub(super) async fn settle(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            match self.hear(until).await {
                Heard::Call(Call::Next(ready)) => {
                    self.freeze(ready);
                    return true;
                }
                Heard::Call(
                    Call::Answer { taken, .. }
                    | Call::Failure { taken, .. }
                    | Call::InitFailure { taken, .. },
                ) => {
                    let _ = taken.send(false);
                }
                Heard::Exited(_) | Heard::TooLate => return false,
            }
        }
    }

    /// Whether the process still lives.
    pub(super) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it printed last, so far.
    pub(super) fn tail(&self) -> String {
        self.tail.text()
    }

    /// Kills it and waits until it is gone and what it printed is read. Returns what it printed last.
    pub(super) async fn end(mut self) -> String {
        // It may be gone already, which is as well.
        let _ = self.child.kill().await;
        let readers = join_all(std::mem::take(&mut self.readers));
        let _ = tokio::time::timeout(LAST_WORDS, readers).await;
        self.tail.text()
    }

    /// What comes first; of several that came, what was said counts before how it ended.
    async fn hear(&mut self, until: Instant) -> Heard {
        tokio::select! {
            biased;
            Some(call) = self.calls.recv() => Heard::Call(call),
            status = self.child.wait() => Heard::Exited(status.ok()),
            () = tokio::time::sleep_until(until) => Heard::TooLate,
        }
    }

    /// From here on nothing of it runs: work it left behind waits for the next event, as on Lambda.
    fn freeze(&mut self, ready: oneshot::Sender<Event>) {
        self.ready = Some(ready);
        self.signal(Signal::STOP);
    }

    fn thaw(&mut self, event: Event) {
        self.signal(Signal::CONT);
        if let Some(ready) = self.ready.take() {
            // If it died meanwhile, waiting for it tells.
            let _ = ready.send(event);
        }
    }

    fn signal(&self, signal: Signal) {
        // No id means that its end was seen: the number may be another's by now.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.server.abort();
    }
}
