//! Starts a claimed sandbox for its investigation.

use std::time::Duration;

use chrono::TimeDelta;
use nightshift_domain::{
    Epoch, Investigation, InvestigationId, SandboxId,
    investigation::{Run, State},
    sandbox::Parts,
};
use nightshift_machines::{Decision, MachinesError};
use nightshift_store::{
    StoreError,
    plant::{Plant, planted},
};

use crate::{Classify, Disposition, Platform, lost, rate};

/// How long a zombie of an earlier epoch may take to stop before its sandbox is started again.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// Why a dispatch failed.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The provider could not start it now.
    #[error("the provider did not start the machine")]
    Provider(#[from] MachinesError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classify for DispatchError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Provider(_) | Self::Store(_) => Disposition::Retry,
        }
    }
}

/// Starts the sandbox of `epoch`. A repeat, or a step of an older epoch, finds nothing to do.
#[tracing::instrument(name = "engine.dispatch", skip_all, fields(investigation.id = %investigation, sandbox.id = %sandbox, %epoch))]
pub async fn dispatch(
    platform: &Platform,
    investigation: InvestigationId,
    sandbox: SandboxId,
    epoch: Epoch,
) -> Result<(), DispatchError> {
    let Some((app, machine)) = reserved(platform, investigation, sandbox, epoch).await? else {
        return Ok(());
    };
    match start(platform, &app, &machine, epoch).await {
        Ok(()) => Ok(confirm(platform, investigation, epoch).await?),
        Err(error) => match error.decision() {
            Decision::Replace | Decision::Gone => {
                tracing::warn!(%error, "Lost a sandbox between grant and start");
                let reason = "its host could not start it";
                Ok(lost::replace(platform, investigation, epoch, reason).await?)
            }
            Decision::Retry | Decision::LookUp | Decision::Pause | Decision::GiveUp => {
                if matches!(error, MachinesError::RateLimited(_))
                    && let Some(region) = region_of(platform, sandbox).await?
                {
                    rate::note_refusal(platform, &region, &error).await?;
                }
                Err(error.into())
            }
        },
    }
}

/// The machine to start, if this step still speaks for the investigation.
async fn reserved(
    platform: &Platform,
    investigation: InvestigationId,
    sandbox: SandboxId,
    epoch: Epoch,
) -> Result<Option<(String, String)>, StoreError> {
    let mut tx = platform.store.begin().await?;
    let Some(found) = tx.investigation(investigation).await? else {
        return Ok(None);
    };
    let wanted = matches!(
        found.state,
        State::Claimed(Run { sandbox: holds, epoch: at, .. }) if holds == sandbox && at == epoch
    );
    if !wanted && !planted(Plant::StartWithoutEpoch) {
        return Ok(None);
    }
    Ok(
        match tx.sandbox(sandbox).await?.map(|sandbox| sandbox.parts) {
            Some(Parts {
                app: Some(app),
                machine: Some(machine),
                ..
            }) => Some((app, machine)),
            Some(_) | None => None,
        },
    )
}

async fn region_of(platform: &Platform, sandbox: SandboxId) -> Result<Option<String>, StoreError> {
    let mut tx = platform.store.begin().await?;
    Ok(tx.origin(sandbox).await?.map(|origin| origin.region))
}

async fn start(
    platform: &Platform,
    app: &str,
    machine: &str,
    epoch: Epoch,
) -> Result<(), MachinesError> {
    if epoch > Epoch(1) && !planted(Plant::ZombieNotStopped) {
        // An earlier start may still run: its tokens are worthless, but it holds the machine.
        platform.provider.stop(app, machine).await?;
        platform
            .provider
            .wait_stopped(app, machine, STOP_PATIENCE)
            .await?;
    }
    platform.provider.start(app, machine).await
}

/// Notes the start. The sandbox may have attested before we get here; then there is nothing to note.
async fn confirm(
    platform: &Platform,
    investigation: InvestigationId,
    epoch: Epoch,
) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    let found: Option<Investigation> = tx.investigation(investigation).await?;
    let Some(Ok(mut started)) = found.map(|found| found.start(epoch, now)) else {
        return Ok(());
    };
    if planted(Plant::NoDeadlineWhileStarting)
        && let State::Starting(run) = &mut started.next.state
    {
        run.deadline_at += TimeDelta::days(36_500);
    }
    match tx.apply(started, now).await {
        // It attested between our read and our write.
        Err(StoreError::Stale(_)) => return Ok(()),
        written => written?,
    }
    tx.commit().await?;
    platform.announce();
    Ok(())
}
