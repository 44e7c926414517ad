//! Doing it.

use std::{
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nightshift_stack::{Process, Stack, signal};
use rustix::process::Signal;
use tokio::time;

use crate::plan::Fault;

/// How long to look for an instance at work before one that is frozen is taken.
const AIM: Duration = Duration::from_millis(1_500);
/// How long a process may take that was told to end, or that its keeper starts again.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// How often somebody looks whether a process is there.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What was done, as it was seen to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Instances killed at work, of each function.
    pub busy: BTreeMap<&'static str, usize>,
    /// Instances killed while frozen, of each function.
    pub frozen: BTreeMap<&'static str, usize>,
    /// How often the database ended at once and was started again.
    pub database: usize,
    /// How long it was gone in all.
    pub database_gone: Duration,
    /// Kills of the machines' server.
    pub machines: usize,
    /// How long it was gone in all.
    pub machines_gone: Duration,
    /// How long it lived and answered nobody.
    pub machines_hung: Duration,
}

impl Done {
    /// All kills.
    #[must_use]
    pub fn kills(&self) -> usize {
        let instances = self.busy.values().chain(self.frozen.values());
        instances.sum::<usize>() + self.database + self.machines
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (counts, more) in [
            (&mut self.busy, other.busy),
            (&mut self.frozen, other.frozen),
        ] {
            for (function, count) in more {
                *counts.entry(function).or_default() += count;
            }
        }
        self.database += other.database;
        self.database_gone += other.database_gone;
        self.machines += other.machines;
        self.machines_gone += other.machines_gone;
        self.machines_hung += other.machines_hung;
    }

    fn killed(&mut self, function: &'static str, at_work: bool) {
        let counts = if at_work {
            &mut self.busy
        } else {
            &mut self.frozen
        };
        *counts.entry(function).or_default() += 1;
    }
}

/// Does one thing, and undoes what must not last.
pub(crate) async fn strike(stack: Arc<Stack>, fault: Fault) -> Result<Done> {
    match fault {
        Fault::Instance { function, after } => {
            tokio::task::spawn_blocking(move || kill_one(&stack, function, after)).await?
        }
        Fault::Function(function) => kill_all(&stack, function),
        Fault::Database(down) => end_database(stack, down).await,
        Fault::MachinesDead(away) => {
            let dead = keep_dead(&stack, "machined", away).await?;
            Ok(Done {
                machines: dead.kills,
                machines_gone: dead.gone,
                ..Done::default()
            })
        }
        Fault::MachinesHung(away) => hang(&stack, "machined", away).await,
    }
}

/// Starts the database; one that runs is left alone.
pub(crate) async fn start_database(stack: Arc<Stack>) -> Result<()> {
    let started = move || stack.program(&["postgres", "start"]);
    tokio::task::spawn_blocking(started).await??;
    Ok(())
}

/// How often the database found at its start that it had not been shut down in order, by its own log.
pub(crate) fn recoveries(stack: &Stack) -> Result<usize> {
    let path = stack.local().join("pg/server.log");
    let log = fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
    Ok(log.matches("automatic recovery in progress").count())
}

/// The signal of `pg_ctl stop -m immediate`: no checkpoint, no goodbye.
async fn end_database(stack: Arc<Stack>, down: Duration) -> Result<Done> {
    let pid = postmaster(&stack)?;
    signal(pid, Signal::QUIT)?;
    let began = Instant::now();
    while lives(pid) {
        ensure!(began.elapsed() < END_PATIENCE, "the database did not end");
        time::sleep(LOOK_EVERY).await;
    }
    let gone = Instant::now();
    time::sleep(down).await;
    start_database(stack).await?;
    Ok(Done {
        database: 1,
        database_gone: gone.elapsed(),
        ..Done::default()
    })
}

fn named(stack: &Stack, name: &str) -> Vec<Process> {
    let children = stack.children();
    children
        .into_iter()
        .filter(|process| process.name() == name)
        .collect()
}

/// Waits for an instance that works, and kills it a moment later.
fn kill_one(stack: &Stack, function: &'static str, after: Duration) -> Result<Done> {
    let mut done = Done::default();
    let began = Instant::now();
    let mut instances = named(stack, function);
    let mut looked = Instant::now();
    while began.elapsed() < AIM {
        if let Some(busy) = instances.iter().find(|process| works(process.pid)) {
            std::thread::sleep(after);
            // It may have answered meanwhile, and then it was killed while frozen.
            let at_work = works(busy.pid);
            signal(busy.pid, Signal::KILL)?;
            done.killed(function, at_work);
            return Ok(done);
        }
        if looked.elapsed() > Duration::from_millis(100) {
            instances = named(stack, function);
            looked = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    if let Some(frozen) = instances.first() {
        signal(frozen.pid, Signal::KILL)?;
        done.killed(function, false);
    }
    Ok(done)
}

fn kill_all(stack: &Stack, function: &'static str) -> Result<Done> {
    let mut done = Done::default();
    for process in named(stack, function) {
        done.killed(function, works(process.pid));
        signal(process.pid, Signal::KILL)?;
    }
    Ok(done)
}

/// A process that was kept from living.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dead {
    pub(crate) kills: usize,
    /// How long it was gone in all, as far as somebody looked.
    pub(crate) gone: Duration,
}

/// Kills a server as often as its keeper starts it again.
pub(crate) async fn keep_dead(stack: &Stack, name: &str, away: Duration) -> Result<Dead> {
    let mut dead = Dead::default();
    let until = Instant::now() + away;
    while Instant::now() < until {
        let looked = Instant::now();
        let found = named(stack, name);
        for process in &found {
            signal(process.pid, Signal::KILL)?;
            dead.kills += 1;
        }
        time::sleep(LOOK_EVERY).await;
        if found.is_empty() {
            dead.gone += looked.elapsed();
        }
    }
    Ok(dead)
}

/// Stops a server from running, and lets it go on after a while.
async fn hang(stack: &Stack, name: &str, away: Duration) -> Result<Done> {
    let began = Instant::now();
    let mut hung = named(stack, name);
    // A fault before this one may have killed it; its keeper starts it again.
    while hung.is_empty() {
        ensure!(began.elapsed() < END_PATIENCE, "no {name} runs");
        time::sleep(LOOK_EVERY).await;
        hung = named(stack, name);
    }
    for process in &hung {
        signal(process.pid, Signal::STOP)?;
    }
    let began = Instant::now();
    time::sleep(away).await;
    for process in &hung {
        signal(process.pid, Signal::CONT)?;
    }
    Ok(Done {
        machines_hung: began.elapsed(),
        ..Done::default()
    })
}

/// Whether a process is not stopped: an instance of a function is, between two invocations.
fn works(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'T' | 'Z' | 'X'))
}

fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.chars().next()
}

fn postmaster(stack: &Stack) -> Result<u32> {
    let path = stack.local().join("pg/data/postmaster.pid");
    let text = fs::read_to_string(path).context("no database runs")?;
    let first = text.lines().next().unwrap_or_default();
    first
        .trim()
        .parse()
        .context("the database's file names no process")
}
