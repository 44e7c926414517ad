//! What became of a sandbox that was made, for the breaker of its image in its region.

use chrono::{DateTime, Utc};
use nightshift_domain::{SandboxId, backoff::draw, breaker::BreakerState};
use nightshift_protocol::Step;
use nightshift_store::{StoreError, Tx};

/// What became of making a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    /// It got ready.
    Ready,
    /// It could not be made, and why.
    Failed(&'a str),
    /// There is no room for any, and why.
    NoRoom(&'a str),
}

/// Notes what became of making a sandbox. Call it last in its transaction: the breaker's row is locked.
pub(crate) async fn note(
    tx: &mut Tx,
    sandbox: SandboxId,
    outcome: Outcome<'_>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(origin) = tx.origin(sandbox).await? else {
        return Ok(());
    };
    let read = tx.breaker(&origin.region, &origin.image).await?;
    let before = read.breaker.clone();
    let roll = draw(sandbox.as_uuid().as_u128());
    let (after, failure) = match outcome {
        Outcome::Ready => (before.clone().succeeded(), None),
        Outcome::Failed(reason) => (before.clone().failed(now, roll), Some(reason)),
        Outcome::NoRoom(reason) => (before.clone().exhausted(now, roll), Some(reason)),
    };
    tx.set_breaker(read, &after, failure).await?;
    let (pool, image) = (origin.pool, origin.image);
    let due_at = match after.state {
        BreakerState::Open { until } if before.state != after.state => {
            tracing::warn!(image, %until, failure, "Stopped making sandboxes of an image");
            Some(until)
        }
        // The first of its kind, or the first after a bad time: the others may follow.
        BreakerState::Closed if before.state != after.state || before.proven != after.proven => {
            tracing::info!(image, "Sandboxes of an image can be made");
            Some(now)
        }
        BreakerState::Open { .. } | BreakerState::HalfOpen { .. } | BreakerState::Closed => None,
    };
    if let Some(due_at) = due_at {
        tx.enqueue_at(Step::Refill { pool }, &pool.to_string(), due_at, now)
            .await?;
    }
    Ok(())
}
