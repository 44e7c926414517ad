//! The evidence log: what tools saw, what they did besides, and what the model was asked.

use nightshift_controls::{Control, holds};
use nightshift_domain::{Evidence, EvidenceId, Investigation, InvestigationId};
use nightshift_mcp_kit::{EvidenceLog, LogRefusal, Pending, clean};
use nightshift_protocol::run::{RecordCall, RecordEvidence, RecordModelUse};
use nightshift_store::{CallRow, ModelUseRow, NewEvidence, Tx, Whose};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Cases, RunKey};
use crate::CaseError;

impl Cases {
    /// Keeps a tool result of a live run, as `server` saw it.
    pub async fn record(
        &self,
        server: &str,
        investigation: InvestigationId,
        new: RecordEvidence,
    ) -> Result<EvidenceId, CaseError> {
        let mut tx = self.store.begin_for(Whose::RunOf(investigation)).await?;
        let live = working(&mut tx, investigation, new.epoch).await?;
        let now = self.clock.now();
        let content = clean::value(new.content);
        let evidence = Evidence {
            id: EvidenceId::generate(),
            kind: new.kind,
            tool: new.tool,
            arguments: clean::value(new.arguments),
            digest: digest(&content),
            content,
            truncated: new.truncated,
            recorded_at: now,
        };
        tx.add_evidence(&NewEvidence {
            tenant: live.tenant,
            investigation,
            epoch: new.epoch,
            server,
            took_ms: i64::try_from(new.took_ms).unwrap_or(i64::MAX),
            evidence: &evidence,
        })
        .await?;
        let detail =
            json!({ "evidence": evidence.id, "tool": evidence.tool, "kind": evidence.kind });
        tx.add_event(investigation, "evidence", &detail, now)
            .await?;
        tx.commit().await?;
        self.tell();
        Ok(evidence.id)
    }

    /// Keeps a call of a live run that left no evidence.
    pub async fn record_call(
        &self,
        server: &str,
        investigation: InvestigationId,
        call: RecordCall,
    ) -> Result<(), CaseError> {
        let mut tx = self.store.begin_for(Whose::RunOf(investigation)).await?;
        // A run that has just reported is over for every server, but the call that ended it
        // belongs into the audit.
        let found = tx.investigation(investigation).await?;
        let run = found.as_ref().and_then(|it| it.state.run());
        if run.is_none_or(|run| run.epoch != call.epoch) {
            return Err(CaseError::NotLive);
        }
        let detail = call.detail.as_deref().map(clean::text);
        tx.add_call(
            investigation,
            call.epoch,
            &CallRow {
                server,
                tool: &call.tool,
                arguments: &clean::value(call.arguments),
                outcome: &call.outcome,
                detail: detail.as_deref(),
                took_ms: i64::try_from(call.took_ms).unwrap_or(i64::MAX),
            },
            self.clock.now(),
        )
        .await?;
        Ok(tx.commit().await?)
    }

    /// Keeps a request of a live run to the model. The first one of a start is the moment at which
    /// the agent works.
    pub async fn record_model_use(
        &self,
        investigation: InvestigationId,
        used: &RecordModelUse,
    ) -> Result<(), CaseError> {
        let mut tx = self.store.begin_for(Whose::RunOf(investigation)).await?;
        working(&mut tx, investigation, used.epoch).await?;
        let row = ModelUseRow {
            at: used.at,
            provider: &used.provider,
            model: &used.model,
            input_tokens: i64::try_from(used.input_tokens).unwrap_or(i64::MAX),
            output_tokens: i64::try_from(used.output_tokens).unwrap_or(i64::MAX),
        };
        let first = tx.add_model_use(investigation, used.epoch, &row).await?;
        if first {
            let detail =
                json!({ "epoch": used.epoch, "provider": used.provider, "model": used.model });
            tx.add_event(investigation, "working", &detail, used.at)
                .await?;
        }
        tx.commit().await?;
        if first {
            self.tell();
        }
        Ok(())
    }

    /// Everything recorded for the run's investigation, oldest first.
    pub async fn evidence(&self, run: RunKey) -> Result<Vec<Evidence>, CaseError> {
        Ok(self
            .store
            .evidence_of(run.tenant, run.investigation)
            .await?)
    }

    /// One piece of evidence of the run's investigation.
    pub async fn one_evidence(&self, run: RunKey, id: EvidenceId) -> Result<Evidence, CaseError> {
        let asked = (run.tenant, run.investigation);
        let (tenant, investigation) = if holds(Control::TenantCase) {
            asked
        } else {
            self.store.owner_of(id).await?.unwrap_or(asked)
        };
        let found = self.store.evidence(tenant, investigation, id).await?;
        found.ok_or(CaseError::Unknown("evidence"))
    }
}

/// What the casebook's own tools saw.
impl EvidenceLog for Cases {
    fn record(
        &self,
        investigation: InvestigationId,
        evidence: RecordEvidence,
    ) -> Pending<'_, Result<EvidenceId, LogRefusal>> {
        Box::pin(async move {
            Self::record(self, "casebook", investigation, evidence)
                .await
                .map_err(refusal)
        })
    }

    fn call(
        &self,
        investigation: InvestigationId,
        call: RecordCall,
    ) -> Pending<'_, Result<(), LogRefusal>> {
        Box::pin(async move {
            self.record_call("casebook", investigation, call)
                .await
                .map_err(refusal)
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn refusal(error: CaseError) -> LogRefusal {
    match error {
        CaseError::NotLive => LogRefusal::NotLive,
        CaseError::Unknown(_)
        | CaseError::Malformed
        | CaseError::Contended
        | CaseError::Store(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "Cannot record");
            LogRefusal::Unavailable(error.to_string())
        }
    }
}

/// The investigation, if it is at work at this epoch.
async fn working(
    tx: &mut Tx,
    id: InvestigationId,
    epoch: nightshift_domain::Epoch,
) -> Result<Investigation, CaseError> {
    let found = tx.investigation(id).await?;
    found
        .filter(|it| super::is_working(it) && it.state.run().is_some_and(|run| run.epoch == epoch))
        .ok_or(CaseError::NotLive)
}

/// SHA-256 of the JSON text, in lower-case hex. The text has its keys in order, so that the same
/// content always has the same digest.
fn digest(content: &Value) -> String {
    hex::encode(Sha256::digest(content.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_text_whatever_the_order_of_the_keys() {
        let one: Value = serde_json::from_str(r#"{"b": 1, "a": [true]}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"a":[true],"b":1}"#).unwrap();
        assert_eq!(digest(&one), digest(&other));
        // printf '{"a":[true],"b":1}' | sha256sum
        assert_eq!(digest(&one), EXPECTED);
    }

    const EXPECTED: &str = "708747538ba81fd60b5aac8c646370de5e24abf70ab1872f67458a5a4f3af05d";
}
