//! Makes a planned sandbox ready: app with its own network, policy, volume, machine, one proving boot.
//!
//! Each id is stored as soon as it is known, so an interrupted provisioning goes on where it was, and a
//! given-up one can be destroyed whole.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::{
    Sandbox, SandboxId,
    backoff::{draw, full_jitter},
    sandbox::{Parts, SandboxState},
};
use nightshift_machines::{Decision, MachinesError};
use nightshift_protocol::Step;
use nightshift_store::{
    Pool, StoreError, Tx,
    plant::{Plant, planted},
};

use crate::{
    Classify, Disposition, Platform,
    breaker::{self, Outcome},
    conclude::release,
    provider::MachinePlan,
    rate,
};

/// The word by which a machine says whose it is.
pub(crate) const INSTALLATION: &str = "nightshift_installation";
/// How long the provider may take to prepare a machine, or a machine for its proving boot.
const SETTLE_PATIENCE: Duration = Duration::from_secs(50);

/// Those who were put off together come back within so long.
const SPREAD: TimeDelta = TimeDelta::seconds(1);

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
                Ok(abandon(platform, id, Outcome::Failed(&reason)).await?)
            }
            Decision::Pause => {
                tracing::warn!(%error, "Giving a sandbox up, there is no room for it");
                let reason = format!("there is no room for it: {error}");
                Ok(abandon(platform, id, Outcome::NoRoom(&reason)).await?)
            }
            Decision::LookUp if planted(Plant::OrphanAfterTimeout) => {
                Ok(abandon(platform, id, Outcome::Failed("it timed out")).await?)
            }
            Decision::Retry | Decision::LookUp => {
                match rate::note_refusal(platform, &pool.region, &error).await? {
                    Some(until) => Ok(put_off(platform, id, until).await?),
                    None => Err(error.into()),
                }
            }
        },
        Err(error) => Err(error),
    }
}

/// Goes on at `until`, as the provider asked; the sandbox's deadline bounds how often.
async fn put_off(
    platform: &Platform,
    id: SandboxId,
    until: DateTime<Utc>,
) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    let Some(sandbox) = tx.sandbox(id).await? else {
        return Ok(());
    };
    if sandbox.state == SandboxState::Provisioning {
        again_at(&mut tx, &sandbox, until, now).await?;
    }
    tx.commit().await
}

/// Writes the step that goes on after `until`; not all at the same instant.
async fn again_at(
    tx: &mut Tx,
    sandbox: &Sandbox,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let seed = sandbox.id.as_uuid().as_u128() ^ u128::from(now.timestamp_millis().unsigned_abs());
    let due_at = until + full_jitter(1, SPREAD, SPREAD, draw(seed));
    let step = Step::Provision {
        sandbox: sandbox.id,
    };
    tx.enqueue_at(step, &sandbox.pool.to_string(), due_at, now)
        .await
}

/// Begins to make a planned sandbox if the region's rate allows, or goes on with one that was begun. The
/// pool is returned with the image that the sandbox was planned with, whatever it makes now.
async fn begin(platform: &Platform, id: SandboxId) -> Result<Option<(Sandbox, Pool)>, StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    let Some(sandbox) = tx.sandbox(id).await? else {
        return Ok(None);
    };
    let (Some(pool), Some(origin)) = (tx.pool(sandbox.pool).await?, tx.origin(id).await?) else {
        return Ok(None);
    };
    let pool = Pool {
        image: origin.image,
        ..pool
    };
    match sandbox.state {
        SandboxState::Provisioning => return Ok(Some((sandbox, pool))),
        SandboxState::Planned => {}
        SandboxState::Ready
        | SandboxState::Claimed { .. }
        | SandboxState::Retiring { .. }
        | SandboxState::Gone { .. } => return Ok(None),
    }
    let Ok(begun) = sandbox.clone().provision(now) else {
        return Ok(None);
    };
    tx.apply_sandbox(begun, now).await?;
    let begun = tx.sandbox(id).await?;
    if let Err(until) = rate::take(platform, &mut tx, &pool.region, now).await? {
        drop(tx);
        postpone(platform, id, until).await?;
        return Ok(None);
    }
    tx.commit().await?;
    Ok(begun.map(|begun| (begun, pool)))
}

/// Leaves a planned sandbox planned until the region's rate has a token again.
async fn postpone(
    platform: &Platform,
    id: SandboxId,
    until: DateTime<Utc>,
) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    let Some(sandbox) = tx.sandbox(id).await? else {
        return Ok(());
    };
    if let Ok(waits) = sandbox.clone().postpone(until) {
        tx.apply_sandbox(waits, now).await?;
        again_at(&mut tx, &sandbox, until, now).await?;
    }
    tx.commit().await
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
        let installation = platform.store.begin().await?.installation().await?;
        let volume = parts.volume.clone().unwrap_or_default();
        let plan = plan(platform, id, pool, volume, installation);
        let made = provider.make_machine(&app, &plan).await?;
        parts.machine = Some(made.machine);
        parts.machine_version = Some(made.version);
        learn(platform, id, &parts).await?;
    }
    prove(platform, id, &app, &parts.machine.unwrap_or_default()).await
}

fn plan(
    platform: &Platform,
    id: SandboxId,
    pool: &Pool,
    volume: String,
    installation: String,
) -> MachinePlan {
    MachinePlan {
        region: pool.region.clone(),
        image: pool.image.clone(),
        volume,
        env: platform.settings.machine_env.clone(),
        metadata: BTreeMap::from([
            ("nightshift_sandbox".to_owned(), id.to_string()),
            ("nightshift_pool".to_owned(), pool.name.clone()),
            (INSTALLATION.to_owned(), installation),
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
        abandon(platform, id, Outcome::Failed(&reason)).await?;
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
    let (pool, begun_at) = (sandbox.pool, sandbox.begun_at());
    let Ok(ready) = sandbox.ready(now) else {
        return Ok(());
    };
    tx.apply_sandbox(ready, now).await?;
    if let Some(begun_at) = begun_at {
        tx.note_provision(pool, now - begun_at, now).await?;
    }
    if !planted(Plant::ReadyWithoutWake) {
        tx.enqueue(Step::ClaimWake { pool }, &pool.to_string(), now)
            .await?;
    }
    if tx.has_ready_of_others(pool).await? {
        // It may stand in for one of another image.
        tx.enqueue(Step::Refill { pool }, &pool.to_string(), now)
            .await?;
    }
    breaker::note(&mut tx, id, Outcome::Ready, now).await?;
    tx.commit().await?;
    platform.announce();
    Ok(())
}

/// Retires a sandbox that cannot be made. One that somebody retired before was counted then.
async fn abandon(
    platform: &Platform,
    id: SandboxId,
    outcome: Outcome<'_>,
) -> Result<(), StoreError> {
    let (Outcome::Failed(reason) | Outcome::NoRoom(reason)) = outcome else {
        return Ok(());
    };
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    let Some(sandbox) = tx.sandbox(id).await? else {
        return Ok(());
    };
    if sandbox.state != SandboxState::Provisioning {
        return Ok(());
    }
    release(&mut tx, id, reason, now).await?;
    breaker::note(&mut tx, id, outcome, now).await?;
    tx.commit().await?;
    platform.announce();
    Ok(())
}
