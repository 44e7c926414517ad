//! Replaces one image by another, and gives up what has been too much for long.
//!
//! The new image is made first. Once it is known to work and as many of it are ready as should be, ready
//! sandboxes of others are retired, a few at a time; whatever was claimed stays with whoever holds it. While
//! the new image cannot be made, the old ones stay. Going back is pointing the pool at the old image again.

use chrono::{DateTime, Utc};
use nightshift_domain::{
    breaker::{Breaker, BreakerState},
    sizing::SURPLUS_PATIENCE,
};
use nightshift_protocol::Step;
use nightshift_store::{Pool, Ready, StoreError, Tx};

use crate::refill::Counted;

/// Ready sandboxes that are on their way out at once, at most.
const AT_ONCE: i64 = 8;

/// Whether an image is known to work and is being made.
pub(crate) fn is_trusted(breaker: &Breaker) -> bool {
    breaker.proven && breaker.state == BreakerState::Closed
}

/// Retires ready sandboxes of other images, as far as the current one stands in for them.
pub(crate) async fn rotate(
    tx: &mut Tx,
    counted: &Counted,
    breaker: &Breaker,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let level = &counted.level;
    let of_others = level.ready - level.ready_current;
    if of_others == 0 || breaker.state != BreakerState::Closed {
        return Ok(());
    }
    // At the ceiling, room for the new image is made out of a part of the old stock: of one sandbox
    // until the new image has shown that it works.
    let full = counted.room() == 0 && level.coming_current == 0 && level.retiring == 0;
    let spared = if breaker.proven && level.ready_current >= counted.target {
        AT_ONCE
    } else if full && breaker.proven {
        (counted.target / 4).clamp(1, AT_ONCE)
    } else {
        i64::from(full && level.waiting == 0)
    };
    let others = Ready::NotOf(level.generation);
    let count = (spared - level.retiring).clamp(0, of_others);
    retire(
        tx,
        &counted.pool,
        others,
        count,
        "another image replaces it",
        now,
    )
    .await
}

/// Gives up ready sandboxes that have been more than wanted for an hour.
pub(crate) async fn shrink(
    tx: &mut Tx,
    counted: &Counted,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let level = &counted.level;
    let surplus = level.ready_current - counted.target - level.waiting;
    let since = (surplus > 0).then(|| level.surplus_since.unwrap_or(now));
    if since != level.surplus_since {
        tx.note_surplus(counted.pool.id, since).await?;
    }
    if since.is_none_or(|since| now - since < SURPLUS_PATIENCE) {
        return Ok(());
    }
    let current = Ready::Of(level.generation);
    let count = surplus.min(AT_ONCE - level.retiring);
    retire(tx, &counted.pool, current, count, "fewer are wanted", now).await
}

async fn retire(
    tx: &mut Tx,
    pool: &Pool,
    which: Ready,
    count: i64,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if count <= 0 {
        return Ok(());
    }
    let retired = tx.retire_ready(pool.id, which, count, reason, now).await?;
    for &sandbox in &retired {
        // Its end asks for the next refill, and so for the next few.
        tx.enqueue(Step::Retire { sandbox }, &sandbox.to_string(), now)
            .await?;
    }
    if !retired.is_empty() {
        tracing::info!(retired = retired.len(), reason, "Retired ready sandboxes");
    }
    Ok(())
}
