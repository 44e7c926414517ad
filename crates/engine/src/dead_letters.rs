//! Steps that failed too often: what a queue gave up is parked for a person, who sends it on its way
//! again.

use chrono::TimeDelta;
use nightshift_store::{GivenUp, Store, StoreError};

use crate::{Clock, platform::announce};

/// How long no queue keeps a message: SQS keeps none longer than 14 days.
const FORGET_AFTER: TimeDelta = TimeDelta::days(15);

/// A step could not be sent on its way again.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// No step of that number is parked.
    #[error("no step {0} is parked")]
    Unknown(i64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sends a parked step on its way again, with all its attempts.
#[tracing::instrument(name = "engine.dead_letters.redrive", skip(store, clock))]
pub async fn redrive(store: &Store, clock: &dyn Clock, id: i64) -> Result<(), RedriveError> {
    let mut tx = store.begin().await?;
    if !tx.redrive(id, clock.now()).await? {
        return Err(RedriveError::Unknown(id));
    }
    tx.commit().await?;
    announce(store);
    tracing::info!(outbox.id = id, "Sent a parked step on its way again");
    Ok(())
}

/// Parks messages that a queue gave up, each once however often the queue shows it; returns how many were
/// new. Only after this may they be deleted from the queue.
#[tracing::instrument(name = "engine.dead_letters.park", skip_all, fields(letters = letters.len()))]
pub async fn park(
    store: &Store,
    clock: &dyn Clock,
    letters: &[GivenUp],
) -> Result<usize, StoreError> {
    let now = clock.now();
    let mut new = 0;
    let mut tx = store.begin().await?;
    for letter in letters {
        if tx.park_message(letter, now).await? {
            new += 1;
            tracing::error!(
                message.id = letter.message_id,
                step = letter.kind,
                error = letter.error,
                "Parked a message that its queue gave up"
            );
        }
    }
    tx.forget_parked(now - FORGET_AFTER).await?;
    tx.commit().await?;
    Ok(new)
}
