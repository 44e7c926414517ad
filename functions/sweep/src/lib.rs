//! What is done each minute, so that nothing relies on one process: overdue rows become steps, what was left
//! in the outbox is sent, and what the queues gave up is parked for people.

use std::time::Duration;

use nightshift_engine::{Platform, causes, sweep::sweep};
use nightshift_lambda::{
    App,
    dead_letters::DeadLetters,
    metrics::{Metric, Metrics},
};
use nightshift_store::{Store, StoreError, views::Part};
use tokio::time::Instant;

/// How long sending may take; the rest is sent a minute later.
const PUBLISHING: Duration = Duration::from_secs(10);
/// Pools that are measured, at most.
const POOLS: i64 = 200;

/// Does what is done each minute.
#[derive(Debug)]
pub struct Sweeper {
    app: App,
    platform: Platform,
    dead_letters: DeadLetters,
}

/// A part of a sweep failed; the others were done all the same.
#[derive(Debug, thiserror::Error)]
#[error("a part of the sweep failed; the log says which")]
pub struct Unfinished;

impl Sweeper {
    /// Sweeps `platform` with the queues of `app`.
    #[must_use]
    pub fn new(app: App, platform: Platform) -> Self {
        let dead_letters = DeadLetters::new(app.sqs.clone(), app.store.clone(), app.clock.clone());
        Self {
            app,
            platform,
            dead_letters,
        }
    }

    /// Does every part, whatever becomes of the others. What a crashed function left is sent first: somebody may
    /// wait for it.
    pub async fn sweep(&self, until: Instant) -> Result<(), Unfinished> {
        self.app.publisher.publish(PUBLISHING).await;
        let (swept, parked) = tokio::join!(sweep(&self.platform), self.dead_letters.park(until));
        let swept = done("sweep", &swept.map(drop));
        let parked = done("park dead letters", &parked.map(drop));
        self.app.publisher.publish(PUBLISHING).await;
        let measured = done(
            "measure",
            &measure(&self.app.store, &self.app.metrics).await,
        );
        if swept && parked && measured {
            Ok(())
        } else {
            Err(Unfinished)
        }
    }
}

/// Notes how many sandboxes are ready in each pool, and how many steps wait for a person: of each kind that
/// has some, and of all, so that 0 is seen as well.
pub async fn measure(store: &Store, metrics: &Metrics) -> Result<(), StoreError> {
    let part = Part {
        before: None,
        limit: POOLS,
    };
    for pool in store.view_pools(None, part).await? {
        let id = pool.id.to_string();
        metrics.put(Metric::PoolReady, ("pool", &id), &[count(pool.ready)]);
    }
    let parked = store.parked_steps().await?;
    let all = parked.iter().map(|(_, parked)| parked).sum();
    metrics.put(Metric::DeadLetters, ("step", "all"), &[count(all)]);
    for (kind, parked) in parked {
        metrics.put(Metric::DeadLetters, ("step", &kind), &[count(parked)]);
    }
    Ok(())
}

/// A number of rows as `CloudWatch` takes it.
fn count(rows: i64) -> f64 {
    u32::try_from(rows).map_or(f64::from(u32::MAX), f64::from)
}

fn done(part: &str, outcome: &Result<(), StoreError>) -> bool {
    if let Err(error) = outcome {
        tracing::error!(part, error = causes(error), "A part of the sweep failed");
    }
    outcome.is_ok()
}
