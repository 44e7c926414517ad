//! Many seeds, a few at a time, each worker with a database of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::Context as _;

use crate::{Database, Outcome, World};

/// What to explore.
#[derive(Debug, Clone)]
pub struct Exploration {
    /// The server, as somebody who may create databases.
    pub url: String,
    /// Which seeds, in this order.
    pub seeds: Vec<u64>,
    /// How many at a time.
    pub workers: usize,
    /// Whether to stop at the first that fails.
    pub until_found: bool,
    /// Whether to keep the traces.
    pub keep_trace: bool,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Explored {
    /// Seeds that ran.
    pub seeds: usize,
    /// How often an actor was let go.
    pub steps: usize,
    /// Processes that were killed.
    pub crashes: u64,
    /// Seeds that failed.
    pub failed: Vec<Outcome>,
}

impl Explored {
    /// How many things happened that must not.
    #[must_use]
    pub fn violations(&self) -> usize {
        self.failed
            .iter()
            .map(|outcome| outcome.violations.len())
            .sum()
    }
}

/// Runs the seeds and tells of each as it ends.
pub fn explore(what: &Exploration, mut tell: impl FnMut(&Outcome)) -> anyhow::Result<Explored> {
    let next = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (send, outcomes) = mpsc::channel();
    let workers: Vec<_> = (0..what.workers.max(1))
        .map(|number| {
            let (what, send) = (what.clone(), send.clone());
            let (next, stop) = (Arc::clone(&next), Arc::clone(&stop));
            thread::spawn(move || worker(&what, number, &next, &stop, &send))
        })
        .collect();
    drop(send);
    let mut explored = Explored::default();
    for outcome in outcomes {
        tell(&outcome);
        explored.seeds += 1;
        explored.steps += outcome.steps;
        explored.crashes += outcome.crashes;
        if !outcome.violations.is_empty() {
            if what.until_found {
                stop.store(true, Ordering::Relaxed);
            }
            explored.failed.push(outcome);
        }
    }
    for worker in workers {
        let ended = worker
            .join()
            .map_err(|_| anyhow::anyhow!("a worker panicked"))?;
        ended?;
    }
    explored.failed.sort_by_key(|outcome| outcome.seed);
    Ok(explored)
}

fn worker(
    what: &Exploration,
    number: usize,
    next: &AtomicUsize,
    stop: &AtomicBool,
    outcomes: &mpsc::Sender<Outcome>,
) -> anyhow::Result<()> {
    // One thread, and the sockets are looked at between any two polls: nothing runs beside the actor
    // whose turn it is.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(1)
        .build()?;
    runtime.block_on(async {
        let name = format!("simulation_{}_{number}", std::process::id());
        let mut database = Database::create(&what.url, &name, World::LINES).await?;
        while !stop.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = what.seeds.get(place).copied() else {
                break;
            };
            let outcome = crate::run(&mut database, seed, what.keep_trace).await;
            let outcome = outcome.with_context(|| format!("seed {seed} could not be run"))?;
            if outcomes.send(outcome).is_err() {
                break;
            }
        }
        database.drop(&what.url).await
    })
}
