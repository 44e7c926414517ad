//! Which runs are live, for the casebook's own gate and for the other servers.

use nightshift_domain::{
    Epoch, Investigation, InvestigationId,
    investigation::{Run, State},
};
use nightshift_mcp_kit::{Pending, Runs, RunsUnavailable};
use nightshift_protocol::run::RunStatus;
use nightshift_store::Whose;

use super::Cases;
use crate::CaseError;

/// Runs as other servers see them: live means at work.
#[derive(Debug, Clone)]
pub struct InternalRuns(pub Cases);

/// Runs as the casebook's own tools see them. A run that has reported and rests may still ask: the
/// answer to its report may have been lost, and asking again must give it.
#[derive(Debug, Clone)]
pub struct ToolRuns(pub Cases);

impl Cases {
    async fn status(
        &self,
        id: InvestigationId,
        epoch: Epoch,
        resting_too: bool,
    ) -> Result<Option<RunStatus>, CaseError> {
        let mut tx = self.store.begin_for(Whose::RunOf(id)).await?;
        let found = tx.investigation(id).await?;
        drop(tx);
        let Some(investigation) = found else {
            return Ok(None);
        };
        let Some(run) = held(&investigation, resting_too).filter(|run| run.epoch == epoch) else {
            return Ok(None);
        };
        let tenant = investigation.tenant;
        let alert = self.store.alert(tenant, investigation.alert).await?;
        let alert = alert.ok_or(CaseError::Unknown("alert"))?;
        Ok(Some(RunStatus {
            investigation: id,
            tenant,
            sandbox: run.sandbox,
            epoch,
            fired_at: alert.signal.fired_at,
            connections: self.store.connections(tenant).await?,
        }))
    }
}

impl Runs for InternalRuns {
    fn status(
        &self,
        investigation: InvestigationId,
        epoch: Epoch,
    ) -> Pending<'_, Result<Option<RunStatus>, RunsUnavailable>> {
        Box::pin(async move {
            self.0
                .status(investigation, epoch, false)
                .await
                .map_err(unavailable)
        })
    }
}

impl Runs for ToolRuns {
    fn status(
        &self,
        investigation: InvestigationId,
        epoch: Epoch,
    ) -> Pending<'_, Result<Option<RunStatus>, RunsUnavailable>> {
        Box::pin(async move {
            self.0
                .status(investigation, epoch, true)
                .await
                .map_err(unavailable)
        })
    }
}

fn held(investigation: &Investigation, resting_too: bool) -> Option<Run> {
    match &investigation.state {
        State::Working(run) => Some(*run),
        State::Resting(run) if resting_too => Some(*run),
        State::Resting(_)
        | State::Queued { .. }
        | State::Claimed(_)
        | State::Starting(_)
        | State::Concluded { .. }
        | State::Cancelled { .. }
        | State::Failed { .. } => None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn unavailable(error: CaseError) -> RunsUnavailable {
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "Cannot tell whether a run is live"
    );
    RunsUnavailable(error.to_string())
}
