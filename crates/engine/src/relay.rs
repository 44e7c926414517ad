//! Hands the outbox's steps over to whoever carries them out.
//!
//! There is no polling: the relay scans when it connects, when it is signalled, and when the next step
//! is due. A step that was handed over is deleted; one that was not is leased again.

mod carrier;
mod publish;

pub use carrier::{Carrier, InProcess, again_at, alike};
pub use publish::{Published, publish};

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use nightshift_store::{CHANNEL_OUTBOX, LeasedStep, StoreError};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::{self, Instant},
};

use crate::{Platform, causes};

/// How long a step may take until another relay may take it too.
const LEASE: TimeDelta = TimeDelta::seconds(150);
/// Batches handed over at once.
const AT_ONCE: usize = 32;
/// The shortest time between two looks at the outbox. Whoever is idle looks at once; under load, steps that
/// become due meanwhile are taken together, which costs the database a fraction of taking each by itself.
const GATHER: Duration = Duration::from_millis(3);
/// How long to wait before a lost database is asked again.
const RECONNECT: Duration = Duration::from_millis(500);
/// How long to wait for a signal, or for the end of what is under way, before looking again.
const BUSY_WAIT: Duration = Duration::from_secs(1);
/// The longest time without a look at the outbox: the net under lost signals.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Runs until `stop` turns true, then waits for the steps under way.
pub async fn run(platform: Platform, carrier: Arc<dyn Carrier>, mut stop: watch::Receiver<bool>) {
    let relay = Arc::new(Relay {
        platform,
        carrier,
        room: Arc::new(Semaphore::new(AT_ONCE)),
        freed: Notify::new(),
    });
    while !*stop.borrow() {
        tokio::select! {
            result = relay.listen() => if let Err(error) = result {
                tracing::warn!(error = causes(&error), "The relay lost the database; trying again");
                time::sleep(RECONNECT).await;
            },
            _ = stop.changed() => break,
        }
    }
    let all = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
    drop(relay.room.acquire_many(all).await);
}

struct Relay {
    platform: Platform,
    carrier: Arc<dyn Carrier>,
    room: Arc<Semaphore>,
    freed: Notify,
}

/// What one look at the outbox found.
#[derive(Debug, Clone, Copy, Default)]
struct Scan {
    leased: usize,
    /// Whether there may be more that fits.
    more: bool,
}

impl Relay {
    async fn listen(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut signals = self.platform.store.signals().listen(CHANNEL_OUTBOX).await?;
        loop {
            let looked = Instant::now();
            let patience = self.take_all().await?;
            tokio::select! {
                result = signals.wait() => result?,
                () = self.freed.notified() => {}
                () = time::sleep(patience) => {}
            }
            time::sleep_until(looked + GATHER).await;
        }
    }

    /// Takes what is due, as far as there is room; tells how long to wait for more.
    async fn take_all(self: &Arc<Self>) -> Result<Duration, StoreError> {
        let mut leased = 0;
        loop {
            let scan = self.scan().await?;
            leased += scan.leased;
            if !scan.more {
                break;
            }
        }
        // What is under way makes us look again when it is done. Only whoever is idle must know when.
        if leased > 0 {
            Ok(BUSY_WAIT)
        } else {
            self.patience().await
        }
    }

    /// Takes what is due, once.
    async fn scan(self: &Arc<Self>) -> Result<Scan, StoreError> {
        let most = self.room.available_permits() * self.carrier.in_a_batch();
        let limit = i64::try_from(most).unwrap_or(0);
        if limit == 0 {
            return Ok(Scan::default());
        }
        let store = &self.platform.store;
        let leased = store
            .lease_steps(self.platform.clock.now(), LEASE, limit)
            .await?;
        let scan = Scan {
            leased: leased.len(),
            more: leased.len() == most,
        };
        for batch in self.carrier.batches(leased) {
            // Steps that share no batch need more room than was there: their leases outlast the wait.
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
                continue;
            };
            let relay = Arc::clone(self);
            tokio::spawn(async move { relay.hand_over(batch, permit).await });
        }
        Ok(scan)
    }

    async fn hand_over(&self, batch: Vec<LeasedStep>, permit: OwnedSemaphorePermit) {
        let Platform { store, clock, .. } = &self.platform;
        publish::hand_over(store, &**clock, &*self.carrier, &batch).await;
        drop(permit);
        self.freed.notify_one();
    }

    /// How long until the next step is due.
    async fn patience(&self) -> Result<Duration, StoreError> {
        let Some(due) = self.platform.store.next_step_due().await? else {
            return Ok(LONGEST_WAIT);
        };
        let wait = (due - self.platform.clock.now())
            .to_std()
            .unwrap_or_default();
        // Due now but not taken: there is no room; `freed` tells when there is.
        Ok(if wait.is_zero() {
            BUSY_WAIT
        } else {
            wait.min(LONGEST_WAIT)
        })
    }
}
