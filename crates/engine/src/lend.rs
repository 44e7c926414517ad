//! Decides whether a server may read a tenant's credential, for a run that works, and writes down that it may.

use nightshift_domain::{
    Epoch, InvestigationId, TenantId,
    investigation::{Run, State},
    scope::Audience,
};
use nightshift_store::{Store, StoreError, Whose};
use serde_json::json;

use crate::Clock;

/// What a server asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Which server, as it proved it.
    pub server: Audience,
    /// For which run.
    pub investigation: InvestigationId,
    /// For which start of it.
    pub epoch: Epoch,
    /// Which credential.
    pub credential: &'a str,
    /// The identity of the token that it would be given.
    pub token: &'a str,
}

/// Why a server gets nothing. For our log only.
#[derive(Debug, thiserror::Error)]
pub enum LendError {
    /// No run works at that start.
    #[error("the run is not at work at this epoch")]
    NotAtWork,
    /// The connection of the run's tenant to that server names another credential, or none.
    #[error("the tenant's connection to this server does not name this credential")]
    NotNamed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The tenant whose credential it is: that of the run, whatever else was asked. When this answers, an event
/// of the investigation says who may read what; so no token is unknown, and one that was never signed may be known.
#[tracing::instrument(name = "engine.lend", skip_all, fields(investigation.id = %asked.investigation))]
pub async fn lend(
    store: &Store,
    clock: &dyn Clock,
    asked: &Asked<'_>,
) -> Result<TenantId, LendError> {
    let mut tx = store.begin_for(Whose::RunOf(asked.investigation)).await?;
    let found = tx.investigation(asked.investigation).await?;
    let found = found.ok_or(LendError::NotAtWork)?;
    let works = matches!(found.state, State::Working(Run { epoch, .. }) if epoch == asked.epoch);
    if !works {
        return Err(LendError::NotAtWork);
    }
    let server = asked.server.server();
    let named = tx.connected_credential(found.tenant, server).await?;
    if named.as_deref() != Some(asked.credential) {
        return Err(LendError::NotNamed);
    }
    let detail = json!({
        "server": server,
        "credential": asked.credential,
        "epoch": asked.epoch,
        "token": asked.token,
    });
    tx.add_event(asked.investigation, "lent", &detail, clock.now())
        .await?;
    tx.commit().await?;
    Ok(found.tenant)
}
