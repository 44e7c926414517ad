//! Hands over what is due, for a while: what a function does after its own commit.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use nightshift_store::{
    LeasedStep, Settlement, Store, StoreError,
    plant::{Plant, planted},
};
use tokio::time;

use super::Carrier;
use crate::{Clock, causes};

/// Steps leased at once.
const AT_ONCE: i64 = 100;
/// How much longer than its patience a publisher holds what it took. A step that was sent but not
/// deleted by then is sent again.
const GRACE: TimeDelta = TimeDelta::seconds(30);

/// What a publisher got done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// Steps that the carrier took over.
    pub accepted: usize,
    /// Steps that it did not take; they come again.
    pub left: usize,
    /// The longest that one of the accepted had been due before it was handed over.
    pub lag: Option<TimeDelta>,
    /// Whether the time was over before the outbox was.
    pub cut_short: bool,
}

/// Hands over what is due until nothing is, for at most `patience`. Whatever is under way by then stays
/// leased and is sent again by whoever comes after the lease.
#[tracing::instrument(name = "engine.relay.publish", skip_all)]
pub async fn publish(
    store: &Store,
    clock: &dyn Clock,
    carrier: &dyn Carrier,
    patience: Duration,
) -> Result<Published, StoreError> {
    let mut published = Published::default();
    let lease = TimeDelta::from_std(patience).unwrap_or(GRACE) + GRACE;
    let drained = drain(store, clock, carrier, lease, &mut published);
    match time::timeout(patience, drained).await {
        Ok(drained) => drained?,
        Err(_) => published.cut_short = true,
    }
    Ok(published)
}

async fn drain(
    store: &Store,
    clock: &dyn Clock,
    carrier: &dyn Carrier,
    lease: TimeDelta,
    published: &mut Published,
) -> Result<(), StoreError> {
    loop {
        let now = clock.now();
        let leased = store.lease_steps(now, lease, AT_ONCE).await?;
        let more = i64::try_from(leased.len()).unwrap_or(AT_ONCE) == AT_ONCE;
        let batches = carrier.batches(leased);
        let handed = batches
            .iter()
            .map(|batch| hand_over(store, clock, carrier, batch));
        for (batch, settled) in batches.iter().zip(join_all(handed).await) {
            for (step, settlement) in batch.iter().zip(&settled) {
                if *settlement == Settlement::Done {
                    published.accepted += 1;
                    published.lag = published.lag.max(Some(now - step.due_at));
                }
            }
            let done = |settlement: &&Settlement| **settlement == Settlement::Done;
            published.left += batch.len() - settled.iter().filter(done).count();
        }
        if !more {
            return Ok(());
        }
    }
}

/// Hands a batch over and settles it.
pub(super) async fn hand_over(
    store: &Store,
    clock: &dyn Clock,
    carrier: &dyn Carrier,
    batch: &[LeasedStep],
) -> Vec<Settlement> {
    if planted(Plant::MarkedBeforeSend) {
        let done: Vec<_> = batch.iter().map(|step| (step, &Settlement::Done)).collect();
        if store.settle_steps(&done, clock.now()).await.is_err() {
            return Vec::new();
        }
    }
    let settled = carrier.carry(batch).await;
    let pairs: Vec<_> = batch.iter().zip(&settled).collect();
    if let Err(error) = store.settle_steps(&pairs, clock.now()).await {
        tracing::warn!(
            outbox.id = batch.first().map(|step| step.id),
            steps = batch.len(),
            error = causes(&error),
            "Could not settle steps; they will come again"
        );
    }
    settled
}
