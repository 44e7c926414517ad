//! Makes a planned sandbox ready: app with its own network, policy, volume, machine, one proving boot.
//!
//! Each id is stored as soon as it is known, so an interrupted provisioning goes on where it was, and a
//! given-up one can be destroyed whole.

use std::{collections::BTreeMap, time::Duration};

use nightshift_domain::{
    Sandbox, SandboxId,
    sandbox::{Parts, SandboxState},
};
use nightshift_machines::{Decision, MachinesError};
use nightshift_protocol::Step;
use nightshift_store::{Pool, StoreError};

use crate::{Classify, Disposition, Platform, conclude::release, provider::MachinePlan};

/// How long the provider may take to prepare a machine, or a machine for its proving boot.
const SETTLE_PATIENCE: Duration = Duration::from_secs(50);

/// Why provisioning did not get on.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The provider failed in a way that may pass.
    #[error("the provider did not make the sandbox")]
    Provider(#[from] MachinesError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classify for ProvisionError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Provider(_) | Self::Store(_) => Disposition::Retry,
        }
    }
}

/// The app of a sandbox. The name is the sandbox's own, so a lost answer can be looked up by it.
#[must_use]
pub fn app_name(sandbox: SandboxId) -> String {
    format!("ns-{}", sandbox.as_uuid().simple())
}

/// Makes a sandbox ready, or goes on making it. One that cannot be made is retired, not repaired.
#[tracing::instrument(name = "engine.provision", skip_all, fields(sandbox.id = %id))]
pub async fn provision(platform: &Platform, id: SandboxId) -> Result<(), ProvisionError> {
    let Some((sandbox, pool)) = begin(platform, id).await? else {
        return Ok(());
    };
    match make(platform, sandbox, &pool).await {
        Ok(()) => Ok(offer(platform, id).await?),
        Err(ProvisionError::Provider(error)) => match error.decision() {
            Decision::Replace | Decision::GiveUp | Decision::Gone => {
                tracing::warn!(%error, "Retiring a sandbox that could not be made");
                let reason = format!("it could not be made: {error}");
                Ok(abandon(platform, id, &reason).await?)
            }
            Decision::Retry | Decision::LookUp | Decision::Pause => Err(error.into()),
        },
        Err(error) => Err(error),
    }
}

async fn begin(platform: &Platform, id: SandboxId) -> Result<Option<(Sandbox, Pool)>, StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    let Some(sandbox) = tx.sandbox(id).await? else {
        return Ok(None);
    };
    let Some(pool) = tx.pool(sandbox.pool).await? else {
        return Ok(None);
    };
    let sandbox = match sandbox.state {
        SandboxState::Provisioning => return Ok(Some((sandbox, pool))),
        SandboxState::Planned => {
            let Ok(begun) = sandbox.provision(now) else {
                return Ok(None);
            };
            tx.apply_sandbox(begun, now).await?;
            tx.sandbox(id).await?
        }
        SandboxState::Ready
        | SandboxState::Claimed { .. }
        | SandboxState::Retiring { .. }
        | SandboxState::Gone { .. } => None,
    };
    tx.commit().await?;
    Ok(sandbox.map(|sandbox| (sandbox, pool)))
}

async fn make(platform: &Platform, sandbox: Sandbox, pool: &Pool) -> Result<(), ProvisionError> {
    let provider = &platform.provider;
    let id = sandbox.id;
    let app = app_name(id);
    let mut parts = sandbox.parts;
    if parts.app.is_none() {
        provider.make_app(&app).await?;
        parts.app = Some(app.clone());
        learn(platform, id, &parts).await?;
    }
    if parts.volume.is_none() {
        let gb = platform.settings.volume_gb;
        parts.volume = Some(provider.make_volume(&app, &pool.region, gb).await?);
        learn(platform, id, &parts).await?;
    }
    if parts.machine.is_none() {
        let plan = plan(platform, id, pool, parts.volume.clone().unwrap_or_default());
        let made = provider.make_machine(&app, &plan).await?;
        parts.machine = Some(made.machine);
        parts.machine_version = Some(made.version);
        learn(platform, id, &parts).await?;
    }
    prove(platform, id, &app, &parts.machine.unwrap_or_default()).await
}

fn plan(platform: &Platform, id: SandboxId, pool: &Pool, volume: String) -> MachinePlan {
    MachinePlan {
        region: pool.region.clone(),
        image: pool.image.clone(),
        volume,
        env: platform.settings.machine_env.clone(),
        metadata: BTreeMap::from([
            ("nightshift_sandbox".to_owned(), id.to_string()),
            ("nightshift_pool".to_owned(), pool.name.clone()),
        ]),
    }
}

/// Boots the machine once: the supervisor checks itself, finds that nobody claimed it, and exits.
async fn prove(
    platform: &Platform,
    id: SandboxId,
    app: &str,
    machine: &str,
) -> Result<(), ProvisionError> {
    let provider = &platform.provider;
    let ran = provider.wait_stopped(app, machine, SETTLE_PATIENCE).await?;
    if ran == Some(0) {
        return Ok(());
    }
    provider.start(app, machine).await?;
    let exit = provider.wait_stopped(app, machine, SETTLE_PATIENCE).await?;
    if exit != Some(0) {
        let exit = exit.map_or_else(|| "none".to_owned(), |code| code.to_string());
        tracing::warn!(exit, "A sandbox failed its self-check");
        let reason = format!("its supervisor's self-check failed (exit code {exit})");
        abandon(platform, id, &reason).await?;
    }
    Ok(())
}

async fn learn(platform: &Platform, id: SandboxId, parts: &Parts) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    let Some(sandbox) = tx.sandbox(id).await? else {
        return Ok(());
    };
    // Retired meanwhile: its retirement deletes the whole app, this part included.
    let Ok(learned) = sandbox.learn(parts.clone()) else {
        return Err(StoreError::Stale(id.to_string()));
    };
    tx.apply_sandbox(learned, now).await?;
    tx.commit().await
}

/// Offers the sandbox and wakes the coordinator, in one transaction.
async fn offer(platform: &Platform, id: SandboxId) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    let Some(sandbox) = tx.sandbox(id).await? else {
        return Ok(());
    };
    let pool = sandbox.pool;
    let Ok(ready) = sandbox.ready(now) else {
        return Ok(());
    };
    tx.apply_sandbox(ready, now).await?;
    tx.enqueue(Step::ClaimWake { pool }, &pool.to_string(), now)
        .await?;
    tx.commit().await?;
    platform.announce();
    Ok(())
}

async fn abandon(platform: &Platform, id: SandboxId, reason: &str) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    release(&mut tx, id, reason, now).await?;
    tx.commit().await?;
    platform.announce();
    Ok(())
}
