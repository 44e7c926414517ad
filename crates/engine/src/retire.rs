//! Destroys a sandbox: machine, volume, network and app. Never recycled.

use nightshift_domain::{SandboxId, sandbox::SandboxState};
use nightshift_machines::MachinesError;
use nightshift_protocol::Step;
use nightshift_store::{
    StoreError,
    plant::{Plant, planted},
};

use crate::{Classify, Disposition, Platform, provider::Remains, provision::app_name};

/// Why a retirement did not get on.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// The provider did not destroy it yet.
    #[error("the provider did not destroy the sandbox")]
    Provider(#[from] MachinesError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classify for RetireError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Provider(_) | Self::Store(_) => Disposition::Retry,
        }
    }
}

/// Destroys what is left of a retiring sandbox and notes that it is gone.
#[tracing::instrument(name = "engine.retire", skip_all, fields(sandbox.id = %id))]
pub async fn retire(platform: &Platform, id: SandboxId) -> Result<(), RetireError> {
    let mut tx = platform.store.begin().await?;
    let Some(sandbox) = tx.sandbox(id).await? else {
        return Ok(());
    };
    drop(tx);
    if !matches!(sandbox.state, SandboxState::Retiring { .. }) {
        return Ok(());
    }
    // The app is asked for even if we never learned that it was made: the name is ours anyway.
    let app = app_name(id);
    let knows_its_app = sandbox.parts.app.is_some();
    let remains = Remains {
        machine: sandbox.parts.machine,
        volume: sandbox.parts.volume,
    };
    if planted(Plant::GoneBeforeRemoved) {
        note_gone(platform, id).await?;
    }
    let unknown = planted(Plant::OrphanAfterTimeout) && !knows_its_app;
    if !unknown {
        platform.provider.remove(&app, &remains).await?;
    }
    Ok(note_gone(platform, id).await?)
}

async fn note_gone(platform: &Platform, id: SandboxId) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    let Some(sandbox) = tx.sandbox(id).await? else {
        return Ok(());
    };
    let pool = sandbox.pool;
    let Ok(gone) = sandbox.gone() else {
        return Ok(());
    };
    tx.apply_sandbox(gone, now).await?;
    // A pool at its ceiling has room again.
    tx.enqueue(Step::Refill { pool }, &pool.to_string(), now)
        .await?;
    tx.commit().await?;
    platform.announce();
    Ok(())
}
