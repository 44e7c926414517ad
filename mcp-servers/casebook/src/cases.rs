//! What can be done with a case. Every write is made by a live run, at its sandbox and epoch.

mod alerts;
mod evidence;
mod inbox;
mod life;
mod live;
mod report;

use std::sync::Arc;

use chrono::TimeDelta;
use nightshift_domain::{
    Epoch, Investigation, InvestigationId, SandboxId, TenantId,
    investigation::{InvalidTransition, State},
};
use nightshift_mcp_kit::{Clock, Grant};
use nightshift_store::{CHANNEL_EVENTS, Store, StoreError, Tx, Whose};

pub use live::{InternalRuns, ToolRuns};

/// How often a decision is made again when someone else was quicker.
const ATTEMPTS: usize = 5;

/// The cases of all tenants. Every method takes the run that asks and reaches nothing beyond it.
#[derive(Clone)]
pub struct Cases {
    store: Store,
    clock: Arc<dyn Clock>,
    rest_for: TimeDelta,
}

/// The run that asks: whose it is, and which start of which sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunKey {
    /// Whose.
    pub tenant: TenantId,
    /// Which investigation.
    pub investigation: InvestigationId,
    /// From which sandbox.
    pub sandbox: SandboxId,
    /// From which start of it.
    pub epoch: Epoch,
}

/// Why a case did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The run is over, or another start speaks for the investigation.
    #[error("this run is over")]
    NotLive,
    /// What was named is not part of this investigation.
    #[error("this investigation has no {0} of that identity")]
    Unknown(&'static str),
    /// The report holds a number without a JSON form.
    #[error("the report holds a number that cannot be written down")]
    Malformed,
    /// Others kept changing the case while we decided.
    #[error("the case is being changed by others; try again")]
    Contended,
    /// The database failed.
    #[error("the casebook cannot reach its records; try again")]
    Store(#[from] StoreError),
}

impl RunKey {
    /// The run behind a grant.
    #[must_use]
    pub fn of(grant: &Grant) -> Self {
        Self {
            tenant: grant.tenant(),
            investigation: grant.investigation(),
            sandbox: grant.sandbox(),
            epoch: grant.epoch(),
        }
    }

    /// Whose rows it may see.
    const fn whose(&self) -> Whose<'static> {
        Whose::Tenant(self.tenant)
    }
}

impl From<InvalidTransition> for CaseError {
    fn from(_: InvalidTransition) -> Self {
        Self::NotLive
    }
}

impl Cases {
    /// Works on `store`. A reported sandbox is kept for follow-ups for `rest_for`.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, rest_for: TimeDelta) -> Self {
        Self {
            store,
            clock,
            rest_for,
        }
    }

    /// The investigation, if the run may speak for it: it works, or it reported and rests, at this
    /// start of this sandbox.
    async fn held(&self, tx: &mut Tx, run: RunKey) -> Result<Investigation, CaseError> {
        let found = tx.investigation(run.investigation).await?;
        found
            .filter(|it| {
                let held = match &it.state {
                    State::Working(held) | State::Resting(held) => {
                        held.sandbox == run.sandbox && held.epoch == run.epoch
                    }
                    State::Queued { .. }
                    | State::Claimed(_)
                    | State::Starting(_)
                    | State::Concluded { .. }
                    | State::Cancelled { .. }
                    | State::Failed { .. } => false,
                };
                held && it.tenant == run.tenant
            })
            .ok_or(CaseError::NotLive)
    }

    fn tell(&self) {
        self.store.signals().send(CHANNEL_EVENTS);
    }
}

impl std::fmt::Debug for Cases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cases")
            .field("rest_for", &self.rest_for)
            .finish_non_exhaustive()
    }
}

/// Whether the investigation is at work, as opposed to resting.
const fn is_working(investigation: &Investigation) -> bool {
    matches!(investigation.state, State::Working(_))
}
