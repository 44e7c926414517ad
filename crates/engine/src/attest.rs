//! Decides what an attested machine gets: the one sandbox that holds a claim, once per epoch.

use chrono::{DateTime, Utc};
use nightshift_controls::{Control, holds};
use nightshift_domain::{
    Epoch, Investigation, InvestigationId, Sandbox, SandboxId, TenantId,
    alert::Alert,
    investigation::{Run, State},
    sandbox::SandboxState,
};
use nightshift_protocol::attestation::MachineStatement;
use nightshift_store::{
    AttestedBy, Store, StoreError, Tx,
    plant::{Plant, planted},
};

use crate::{Clock, platform::announce};

/// What a run token is issued for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunGrant {
    /// On whose behalf.
    pub tenant: TenantId,
    /// Which investigation.
    pub investigation: InvestigationId,
    /// Which sandbox.
    pub sandbox: SandboxId,
    /// Which start of it.
    pub epoch: Epoch,
}

/// A machine that may work.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// What its tokens are issued for.
    pub grant: RunGrant,
    /// What it is to investigate.
    pub alert: Alert,
}

/// Why a machine gets nothing.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// No sandbox of ours is that machine, in that app, with that configuration and image.
    #[error("the statement does not match any sandbox")]
    Unknown,
    /// The statement was used before.
    #[error("the statement was used before")]
    Replayed,
    /// Nobody has claimed the sandbox: it is ready and gets nothing.
    #[error("nobody has claimed this sandbox")]
    NotClaimed,
    /// This start has its tokens already.
    #[error("this start was attested before")]
    AlreadyAttested,
    /// The investigation went on without this start.
    #[error("this start no longer speaks for its investigation")]
    Superseded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Admits the machine that a verified statement names, once per epoch. A refused statement is used
/// up as well: it must not be accepted for a later start.
#[tracing::instrument(name = "engine.attest.admit", skip_all, fields(machine = statement.machine_id))]
pub async fn admit(
    store: &Store,
    clock: &dyn Clock,
    statement: &MachineStatement,
    key_thumbprint: &str,
) -> Result<Admitted, AttestError> {
    let now = clock.now();
    let mut tx = store.begin().await?;
    let (grant, found) = match admissible(&mut tx, statement).await {
        Err(AttestError::Store(error)) => return Err(error.into()),
        Err(refused) => {
            tx.commit().await?;
            return Err(refused);
        }
        Ok(admissible) => admissible,
    };
    let alert = found.alert;
    let again = (planted(Plant::AttestTwice) || !holds(Control::AttestOnce))
        && matches!(found.state, State::Working(_));
    if !again {
        let Ok(working) = found.attest(grant.epoch, now) else {
            tx.commit().await?;
            return Err(AttestError::Superseded);
        };
        tx.apply(working, now).await?;
        tx.note_attested(grant.sandbox, grant.epoch, key_thumbprint)
            .await?;
    }
    tx.commit().await?;
    announce(store);
    let alert = store
        .alert(grant.tenant, alert)
        .await?
        .ok_or(AttestError::Superseded)?;
    Ok(Admitted { grant, alert })
}

async fn admissible(
    tx: &mut Tx,
    statement: &MachineStatement,
) -> Result<(RunGrant, Investigation), AttestError> {
    let (sandbox, attested) = recognise(tx, statement).await?;
    let SandboxState::Claimed { investigation } = sandbox.state else {
        return Err(AttestError::NotClaimed);
    };
    let twice = planted(Plant::AttestTwice) || !holds(Control::AttestOnce);
    if attested.epoch >= sandbox.epoch && !twice {
        return Err(AttestError::AlreadyAttested);
    }
    tx.enter(investigation).await?;
    let found = tx
        .investigation(investigation)
        .await?
        .ok_or(AttestError::Superseded)?;
    if found
        .state
        .run()
        .is_none_or(|run| run.sandbox != sandbox.id)
    {
        return Err(AttestError::Superseded);
    }
    let (tenant, epoch) = (found.tenant, sandbox.epoch);
    Ok((
        RunGrant {
            tenant,
            investigation,
            sandbox: sandbox.id,
            epoch,
        },
        found,
    ))
}

/// Renews the tokens of a start that is still the one that works, with the key it attested with.
#[tracing::instrument(name = "engine.attest.renew", skip_all, fields(machine = statement.machine_id, %epoch))]
pub async fn renew(
    store: &Store,
    statement: &MachineStatement,
    key_thumbprint: &str,
    epoch: Epoch,
) -> Result<RunGrant, AttestError> {
    let mut tx = store.begin().await?;
    let decided = renewable(&mut tx, statement, key_thumbprint, epoch).await;
    if !matches!(decided, Err(AttestError::Store(_))) {
        tx.commit().await?;
    }
    decided
}

async fn renewable(
    tx: &mut Tx,
    statement: &MachineStatement,
    key_thumbprint: &str,
    epoch: Epoch,
) -> Result<RunGrant, AttestError> {
    let (sandbox, attested) = recognise(tx, statement).await?;
    let SandboxState::Claimed { investigation } = sandbox.state else {
        return Err(AttestError::Superseded);
    };
    let known = attested.key_thumbprint.as_deref() == Some(key_thumbprint);
    if sandbox.epoch != epoch || attested.epoch != epoch || (!known && holds(Control::RenewKey)) {
        return Err(AttestError::Superseded);
    }
    tx.enter(investigation).await?;
    let found = tx
        .investigation(investigation)
        .await?
        .ok_or(AttestError::Superseded)?;
    let works = matches!(found.state, State::Working(Run { sandbox: holds, epoch: at, .. })
        if holds == sandbox.id && at == epoch);
    if !works {
        return Err(AttestError::Superseded);
    }
    Ok(RunGrant {
        tenant: found.tenant,
        investigation,
        sandbox: sandbox.id,
        epoch,
    })
}

/// Uses the statement up and finds the sandbox that it names. Every part of it must match; which one did
/// not is nobody's business.
async fn recognise(
    tx: &mut Tx,
    statement: &MachineStatement,
) -> Result<(Sandbox, AttestedBy), AttestError> {
    let expires_at: DateTime<Utc> =
        DateTime::from_timestamp(statement.exp, 0).ok_or(AttestError::Unknown)?;
    if !tx.use_statement(&statement.jti, expires_at).await? && holds(Control::StatementOnce) {
        return Err(AttestError::Replayed);
    }
    let (sandbox, attested) = tx
        .sandbox_by_machine(&statement.machine_id)
        .await?
        .ok_or(AttestError::Unknown)?;
    let origin = tx.origin(sandbox.id).await?.ok_or(AttestError::Unknown)?;
    let digest = origin
        .image
        .rsplit_once('@')
        .map_or("", |(_, digest)| digest);
    let matches = sandbox.parts.app.as_deref() == Some(statement.app_name.as_str())
        && sandbox.parts.machine_version.as_deref() == Some(statement.machine_version.as_str())
        && digest == statement.image_digest;
    if !matches && holds(Control::StatementMachine) {
        return Err(AttestError::Unknown);
    }
    Ok((sandbox, attested))
}
