//! Doing it.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nightshift_stack::{Process, Stack, signal};
use rustix::process::Signal;
use tokio::time;

use crate::plan::Fault;

/// How long to look for an instance at work before one that is frozen is taken.
const AIM: Duration = Duration::from_millis(1_500);

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Instances killed at work.
    pub(crate) busy: usize,
    /// Instances killed while frozen.
    pub(crate) frozen: usize,
    /// Kills of anything else: the database, the machines' server.
    pub(crate) others: usize,
}

impl Done {
    /// All kills.
    pub(crate) const fn kills(&self) -> usize {
        self.busy + self.frozen + self.others
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.busy += other.busy;
        self.frozen += other.frozen;
        self.others += other.others;
    }
}

/// Does one thing, and undoes what must not last.
pub(crate) async fn strike(stack: Arc<Stack>, fault: Fault) -> Result<Done> {
    match fault {
        Fault::Instance { function, after } => {
            tokio::task::spawn_blocking(move || kill_one(&stack, function, after)).await?
        }
        Fault::Function(function) => kill_all(&stack, function),
        Fault::Database(down) => {
            let pid = postmaster(&stack)?;
            signal(pid, Signal::QUIT)?;
            time::sleep(down).await;
            start_database(stack).await?;
            Ok(Done {
                others: 1,
                ..Done::default()
            })
        }
        Fault::MachinesDead(away) => keep_dead(&stack, "machined", away).await,
        Fault::MachinesHung(away) => {
            let hung = named(&stack, "machined");
            for process in &hung {
                signal(process.pid, Signal::STOP)?;
            }
            time::sleep(away).await;
            for process in &hung {
                signal(process.pid, Signal::CONT)?;
            }
            Ok(Done::default())
        }
    }
}

/// Starts the database; one that runs is left alone.
pub(crate) async fn start_database(stack: Arc<Stack>) -> Result<()> {
    let started = move || stack.program(&["postgres", "start"]);
    tokio::task::spawn_blocking(started).await??;
    Ok(())
}

fn named(stack: &Stack, name: &str) -> Vec<Process> {
    let children = stack.children();
    children
        .into_iter()
        .filter(|process| process.name() == name)
        .collect()
}

/// Waits for an instance that works, and kills it a moment later.
fn kill_one(stack: &Stack, function: &str, after: Duration) -> Result<Done> {
    let began = Instant::now();
    let mut instances = named(stack, function);
    let mut looked = Instant::now();
    while began.elapsed() < AIM {
        if let Some(busy) = instances.iter().find(|process| works(process.pid)) {
            std::thread::sleep(after);
            signal(busy.pid, Signal::KILL)?;
            return Ok(Done {
                busy: 1,
                ..Done::default()
            });
        }
        if looked.elapsed() > Duration::from_millis(100) {
            instances = named(stack, function);
            looked = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    match instances.first() {
        Some(frozen) => {
            signal(frozen.pid, Signal::KILL)?;
            Ok(Done {
                frozen: 1,
                ..Done::default()
            })
        }
        None => Ok(Done::default()),
    }
}

fn kill_all(stack: &Stack, function: &str) -> Result<Done> {
    let mut done = Done::default();
    for process in named(stack, function) {
        if works(process.pid) {
            done.busy += 1;
        } else {
            done.frozen += 1;
        }
        signal(process.pid, Signal::KILL)?;
    }
    Ok(done)
}

/// Kills a server as often as its keeper starts it again.
async fn keep_dead(stack: &Stack, name: &str, away: Duration) -> Result<Done> {
    let mut done = Done::default();
    let until = Instant::now() + away;
    while Instant::now() < until {
        for process in named(stack, name) {
            signal(process.pid, Signal::KILL)?;
            done.others += 1;
        }
        time::sleep(Duration::from_millis(100)).await;
    }
    Ok(done)
}

/// Whether a process is not stopped: an instance of a function is, between two invocations.
fn works(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'T' | 'Z' | 'X'))
}

fn postmaster(stack: &Stack) -> Result<u32> {
    let found = pid_files(stack)
        .into_iter()
        .find_map(|path| fs::read_to_string(path).ok());
    let first = found.as_deref().and_then(|text| text.lines().next());
    first
        .and_then(|pid| pid.trim().parse().ok())
        .context("no database runs")
}

fn pid_files(stack: &Stack) -> Vec<std::path::PathBuf> {
    let cluster = stack.local().join("pg");
    ["data/postmaster.pid", "postmaster.pid"]
        .map(|name| cluster.join(name))
        .into()
}
