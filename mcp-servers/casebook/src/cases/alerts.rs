//! The alert, its neighbours and the runbook.

use chrono::TimeDelta;
use nightshift_domain::alert::Alert;
use nightshift_protocol::tools::casebook::Runbook;

use super::{Cases, RunKey};
use crate::{CaseError, runbook};

/// How far apart alerts may be to be neighbours.
const NEIGHBOURHOOD: TimeDelta = TimeDelta::minutes(15);

impl Cases {
    /// The alert that opened the run's investigation.
    pub async fn alert(&self, run: RunKey) -> Result<Alert, CaseError> {
        let mut tx = self.store.begin_for(run.whose()).await?;
        let investigation = self.held(&mut tx, run).await?;
        drop(tx);
        let found = self.store.alert(run.tenant, investigation.alert).await?;
        found.ok_or(CaseError::Unknown("alert"))
    }

    /// The alerts of the same tenant around it, nearest first.
    pub async fn related_alerts(&self, run: RunKey) -> Result<Vec<Alert>, CaseError> {
        let mut tx = self.store.begin_for(run.whose()).await?;
        let investigation = self.held(&mut tx, run).await?;
        drop(tx);
        Ok(self
            .store
            .alerts_near(run.tenant, investigation.alert, NEIGHBOURHOOD)
            .await?)
    }

    /// The tenant's runbook for the alert's service, or else ours.
    pub async fn runbook(&self, run: RunKey) -> Result<Runbook, CaseError> {
        let alert = self.alert(run).await?;
        let service = alert.signal.service.as_deref();
        let own = self.store.runbook(run.tenant, service).await?;
        Ok(own.map_or_else(runbook::built_in, |own| Runbook {
            name: own.name,
            text: own.body,
        }))
    }
}
