//! Stops the machine of a resting investigation, in case it did not stop by itself.

use nightshift_domain::{Epoch, InvestigationId, investigation::State};

use nightshift_store::{
    StoreError,
    plant::{Plant, planted},
};

use crate::{Platform, dispatch::DispatchError, message::wake};

/// Stops the machine that reported at `epoch`. Its session stays on the volume; a stopped machine
/// costs storage only.
#[tracing::instrument(name = "engine.rest", skip_all, fields(investigation.id = %investigation, %epoch))]
pub async fn rest(
    platform: &Platform,
    investigation: InvestigationId,
    epoch: Epoch,
) -> Result<(), DispatchError> {
    let mut tx = platform.store.begin().await?;
    let Some(found) = tx.investigation(investigation).await? else {
        return Ok(());
    };
    let State::Resting(run) = found.state else {
        return Ok(());
    };
    if run.epoch != epoch {
        return Ok(());
    }
    let parts = tx
        .sandbox(run.sandbox)
        .await?
        .map(|sandbox| sandbox.parts)
        .unwrap_or_default();
    drop(tx);
    if let (Some(app), Some(machine)) = (parts.app, parts.machine) {
        platform.provider.stop(&app, &machine).await?;
    }
    answer_latecomers(platform, investigation, epoch).await?;
    Ok(())
}

/// A message that came in while the agent was reporting found a working investigation and woke nobody.
async fn answer_latecomers(
    platform: &Platform,
    investigation: InvestigationId,
    epoch: Epoch,
) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    if tx.unanswered(investigation).await? == 0 || planted(Plant::LatecomersIgnored) {
        return Ok(());
    }
    let Some(found) = tx.investigation(investigation).await? else {
        return Ok(());
    };
    if found.state.run().is_some_and(|run| run.epoch == epoch) {
        wake(&mut tx, found, now).await?;
        tx.commit().await?;
        platform.announce();
    }
    Ok(())
}
