//! Ends reported investigations and lets their sandboxes go.

use chrono::{DateTime, Utc};
use nightshift_domain::{Investigation, SandboxId};
use nightshift_protocol::Step;
use nightshift_store::{StoreError, Tx};

/// Ends a resting investigation; its sandbox is destroyed, never recycled.
pub async fn conclude(
    tx: &mut Tx,
    resting: Investigation,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(run) = resting.state.run() else {
        return Ok(());
    };
    let Ok(concluded) = resting.conclude(now) else {
        return Ok(());
    };
    tx.apply(concluded, now).await?;
    release(tx, run.sandbox, "its investigation is over", now).await
}

/// Begins to destroy a sandbox and asks for another in its place. One that is on its way out
/// already is left to it.
pub(crate) async fn release(
    tx: &mut Tx,
    sandbox: SandboxId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(found) = tx.sandbox(sandbox).await? else {
        return Ok(());
    };
    let pool = found.pool;
    let Ok(retiring) = found.retire(reason, now) else {
        return Ok(());
    };
    tx.apply_sandbox(retiring, now).await?;
    tx.enqueue(Step::Retire { sandbox }, &sandbox.to_string(), now)
        .await?;
    tx.enqueue(Step::Refill { pool }, &pool.to_string(), now)
        .await
}
