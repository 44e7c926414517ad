//! Everybody who does something: the functions, and the world around them.

mod agent;
mod functions;
mod people;

pub use agent::agent;
pub use functions::{function, relay, sweeper};
pub use people::{asker, image, operator, sender};

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use nightshift_engine::{Platform, relay::publish};
use nightshift_store::Verdict;

use crate::{
    carrier::ToQueues,
    cell::{Cell, Wait},
    clock::SimulatedClock,
    core::{Core, Shared, lock},
};

/// What an actor does until it ends.
pub type Life = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long publishing may take. Real time, of which none passes to speak of; the lease on what is being
/// published is this and half a minute, in the time of the seed.
const PATIENCE: Duration = Duration::from_secs(100);

/// One actor's hands.
#[derive(Clone)]
pub struct Actor {
    /// Where it stands.
    pub cell: Arc<Cell>,
    /// The rest of the world.
    pub core: Shared,
    /// What the use cases run on.
    pub platform: Platform,
}

impl Actor {
    /// The time.
    #[must_use]
    pub fn clock(&self) -> SimulatedClock {
        SimulatedClock(Arc::clone(&self.core))
    }

    /// Looks into the core. Never across an `await`.
    pub fn core<T>(&self, look: impl FnOnce(&mut Core) -> T) -> T {
        look(&mut lock(&self.core))
    }

    /// Stands at a point.
    pub async fn park(&self, point: &'static str, wait: Wait) -> Verdict {
        self.cell.park(point, wait).await
    }

    /// Sleeps.
    pub async fn sleep(&self, point: &'static str, until: DateTime<Utc>) {
        self.park(point, Wait::Until(until)).await;
    }

    /// Notes a line of its own.
    pub fn note(&self, line: &str) {
        self.core(|core| core.note(&format!("  {} {line}", self.cell.name())));
    }

    /// Publishes what is due, as a function does after its own commit.
    pub async fn publish(&self) {
        let carrier = ToQueues {
            cell: Arc::clone(&self.cell),
            core: Arc::clone(&self.core),
        };
        let clock = self.clock();
        let published = publish(&self.platform.store, &clock, &carrier, PATIENCE).await;
        if let Err(error) = published {
            self.note(&format!("could not publish: {error}"));
        }
    }
}
