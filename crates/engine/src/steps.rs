//! Which use case carries out which step.

use nightshift_protocol::{Envelope, Step, step::VERSION};
use nightshift_store::{
    StoreError,
    plant::{Plant, planted},
};
use serde::Deserialize;

use crate::{
    Classify, Disposition, Platform, claim, dispatch, provision, refill, rest, retire, write_back,
};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The message is not a step that this version can read; a newer one may.
    #[error("the step cannot be read: {0}")]
    Unreadable(String),
    /// Claiming or refilling failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Starting or stopping failed.
    #[error(transparent)]
    Dispatch(#[from] dispatch::DispatchError),
    /// Provisioning failed.
    #[error(transparent)]
    Provision(#[from] provision::ProvisionError),
    /// Retiring failed.
    #[error(transparent)]
    Retire(#[from] retire::RetireError),
    /// Telling what was found failed.
    #[error(transparent)]
    WriteBack(#[from] write_back::WriteBackError),
}

impl Classify for StepError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Unreadable(_) => Disposition::Retry,
            Self::Store(error) => error.disposition(),
            Self::Dispatch(error) => error.disposition(),
            Self::Provision(error) => error.disposition(),
            Self::Retire(error) => error.disposition(),
            Self::WriteBack(error) => error.disposition(),
        }
    }
}

/// Reads a step that this version or the one before it wrote.
pub fn read(payload: &serde_json::Value) -> Result<Envelope, StepError> {
    let envelope =
        Envelope::deserialize(payload).map_err(|error| StepError::Unreadable(error.to_string()))?;
    let oldest = VERSION - u16::from(!planted(Plant::PreviousVersionRefused));
    if envelope.v > VERSION || envelope.v < oldest {
        return Err(StepError::Unreadable(format!(
            "version {} is not ours",
            envelope.v
        )));
    }
    Ok(envelope)
}

/// Carries a step out as part of its trace. Safe to repeat.
#[tracing::instrument(name = "engine.step.carry_out", skip_all, fields(
    step = envelope.step.kind(),
    trace.id = envelope.trace.map(|trace| trace.id()),
))]
pub async fn follow(platform: &Platform, envelope: Envelope) -> Result<(), StepError> {
    let done = carry_out(&platform.following(envelope.trace), envelope.step).await;
    if planted(Plant::AckBeforeCommit) {
        return Ok(());
    }
    done
}

/// Carries a step out. Safe to repeat.
pub async fn carry_out(platform: &Platform, step: Step) -> Result<(), StepError> {
    match step {
        Step::ClaimWake { pool } => drop(claim::claim(platform, pool).await?),
        Step::Dispatch {
            investigation,
            sandbox,
            epoch,
        } => {
            dispatch::dispatch(platform, investigation, sandbox, epoch).await?;
        }
        Step::Rest {
            investigation,
            epoch,
        } => {
            rest::rest(platform, investigation, epoch).await?;
        }
        Step::Refill { pool } => refill::refill(platform, pool).await?,
        Step::Provision { sandbox } => provision::provision(platform, sandbox).await?,
        Step::Retire { sandbox } => retire::retire(platform, sandbox).await?,
        Step::WriteBack { investigation } => {
            write_back::write_back(platform, investigation).await?;
        }
    }
    Ok(())
}
