//! Replaces the sandbox of an investigation: the ticket returns to its old place in the queue.

use nightshift_domain::{Epoch, Investigation, InvestigationId};
use nightshift_protocol::Step;
use nightshift_store::{
    StoreError, Tx,
    plant::{Plant, planted},
};

use crate::{Platform, conclude::release};

/// Takes a lost sandbox away and puts its investigation back in the queue, or gives the investigation up
/// when that has happened too often.
pub(crate) async fn replace(
    platform: &Platform,
    id: InvestigationId,
    epoch: Epoch,
    reason: &str,
) -> Result<(), StoreError> {
    let mut tx = platform.store.begin().await?;
    let Some(found) = tx.investigation(id).await? else {
        return Ok(());
    };
    if found.state.run().is_none_or(|run| run.epoch != epoch) {
        return Ok(());
    }
    requeue(&mut tx, platform, found, reason).await?;
    tx.commit().await?;
    platform.announce();
    Ok(())
}

async fn requeue(
    tx: &mut Tx,
    platform: &Platform,
    found: Investigation,
    reason: &str,
) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let id = found.id;
    let Some(run) = found.state.run() else {
        return Ok(());
    };
    let Ok(requeued) = found.clone().requeue(now) else {
        return give_up(tx, platform, found, "every sandbox it was given was lost").await;
    };
    tx.apply(requeued, now).await?;
    if !planted(Plant::LostSandboxKept) {
        release(tx, run.sandbox, reason, now).await?;
    }
    if let Some(pool) = tx.return_ticket(id).await? {
        tx.enqueue(Step::ClaimWake { pool }, &pool.to_string(), now)
            .await?;
    }
    Ok(())
}

/// Ends an investigation that we cannot finish, and lets its sandbox go.
pub(crate) async fn give_up(
    tx: &mut Tx,
    platform: &Platform,
    found: Investigation,
    reason: &str,
) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let (id, run) = (found.id, found.state.run());
    let Ok(failed) = found.fail(reason, now) else {
        return Ok(());
    };
    tracing::warn!(investigation.id = %id, reason, "Gave an investigation up");
    tx.apply(failed, now).await?;
    tx.cancel_ticket(id).await?;
    if let Some(run) = run {
        release(tx, run.sandbox, reason, now).await?;
        tx.wake_coordinator(id, now).await?;
    }
    Ok(())
}
