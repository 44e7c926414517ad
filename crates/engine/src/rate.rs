//! How fast the provider is asked: takes tokens for stock, and remembers refusals for everybody.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_machines::MachinesError;
use nightshift_store::{StoreError, Tx};

use crate::Platform;

/// Takes a token for making a sandbox in `region`, or tells when to ask again. Call it last in its
/// transaction: the bucket's row is locked.
pub(crate) async fn take(
    platform: &Platform,
    tx: &mut Tx,
    region: &str,
    now: DateTime<Utc>,
) -> Result<Result<(), DateTime<Utc>>, StoreError> {
    let limits = &platform.settings.limits;
    let bucket = tx.bucket(region, limits, now).await?;
    match bucket.take(limits, now) {
        Ok(less) => {
            tx.set_bucket(region, &less).await?;
            Ok(Ok(()))
        }
        Err(until) => Ok(Err(until)),
    }
}

/// Notes that the provider asked for fewer calls, and returns until when it is left alone. Any other error
/// is nothing to note.
pub(crate) async fn note_refusal(
    platform: &Platform,
    region: &str,
    error: &MachinesError,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let MachinesError::RateLimited(refusal) = error else {
        return Ok(None);
    };
    let asked = refusal
        .retry_after
        .and_then(|asked| TimeDelta::from_std(asked).ok());
    let (limits, now) = (&platform.settings.limits, platform.clock.now());
    let mut tx = platform.store.begin().await?;
    let refused = tx
        .bucket(region, limits, now)
        .await?
        .refused(asked, limits, now);
    tx.set_bucket(region, &refused).await?;
    tx.commit().await?;
    tracing::warn!(
        region,
        per_s = refused.rate(limits, now),
        until = ?refused.paused_until,
        "The provider asks for fewer calls"
    );
    Ok(refused.paused_until)
}
