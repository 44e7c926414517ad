//! The report: settled against the evidence, stored once, and the end of the run's work.

use std::collections::BTreeSet;

use nightshift_controls::{Control, holds};
use nightshift_domain::{
    AlertId, Report,
    report::{ReportDraft, settle::settle},
};
use nightshift_mcp_kit::{clean, secrets};
use nightshift_protocol::{Step, tools::casebook::ReportAccepted};
use nightshift_store::{CHANNEL_OUTBOX, StoreError};
use serde_json::json;

use super::{ATTEMPTS, Cases, RunKey};
use crate::CaseError;

impl Cases {
    /// Settles the draft, stores the report and lets the investigation rest, all at once.
    ///
    /// Submitting again from the same start answers what was stored the first time and changes
    /// nothing, so that a lost answer may be asked for again.
    pub async fn submit(
        &self,
        run: RunKey,
        draft: &ReportDraft,
    ) -> Result<ReportAccepted, CaseError> {
        let draft = cleaned(draft)?;
        for _ in 0..ATTEMPTS {
            match self.try_submit(run, draft.clone()).await {
                Err(CaseError::Store(StoreError::Stale(_))) => {}
                done => return done,
            }
        }
        Err(CaseError::Contended)
    }

    async fn try_submit(
        &self,
        run: RunKey,
        draft: ReportDraft,
    ) -> Result<ReportAccepted, CaseError> {
        // Everything is read before the transaction begins: one that waits for a second connection
        // could wait for itself.
        let related = self.related_alerts(run).await?;
        let stored = self.store.report_of(run.tenant, run.investigation).await?;
        if let Some(stored) = stored.filter(|stored| stored.epoch == run.epoch) {
            return Ok(accepted(&stored.report));
        }
        let evidence = self
            .store
            .evidence_of(run.tenant, run.investigation)
            .await?;
        let related: BTreeSet<AlertId> = related.into_iter().map(|alert| alert.id).collect();
        let report = settle(draft, &evidence, &related);

        let mut tx = self.store.begin_for(run.whose()).await?;
        let investigation = self.held(&mut tx, run).await?;
        let now = self.clock.now();
        let group = run.tenant.to_string();
        tx.save_report(run.tenant, run.investigation, run.epoch, &report, now)
            .await?;
        let detail = json!({
            "epoch": run.epoch,
            "outcome": report.outcome,
            "confidence": report.root_cause.as_ref().map(|cause| cause.confidence),
            "dropped": report.dropped.len(),
        });
        tx.add_event(run.investigation, "settled", &detail, now)
            .await?;
        tx.apply(investigation.rest(run.epoch, now + self.rest_for)?, now)
            .await?;
        let rest = Step::Rest {
            investigation: run.investigation,
            epoch: run.epoch,
        };
        tx.enqueue(rest, &group, now).await?;
        tx.wake_coordinator(run.investigation, now).await?;
        let investigation = run.investigation;
        if tx.wants_report(investigation).await? {
            tx.enqueue(Step::WriteBack { investigation }, &group, now)
                .await?;
        }
        tx.commit().await?;

        self.tell();
        self.store.signals().send(CHANNEL_OUTBOX);
        tracing::info!(
            investigation.id = %run.investigation,
            tenant.id = %run.tenant,
            outcome = ?report.outcome,
            dropped = report.dropped.len(),
            "Settled a report"
        );
        Ok(accepted(&report))
    }
}

fn accepted(report: &Report) -> ReportAccepted {
    ReportAccepted {
        outcome: report.outcome,
        confidence: report.root_cause.as_ref().map(|cause| cause.confidence),
        dropped: report.dropped.clone(),
    }
}

/// People read reports in terminals and chats, so the draft's texts are cleaned as answers are, and a secret
/// in them goes no further. Control: `report-secrets`.
fn cleaned(draft: &ReportDraft) -> Result<ReportDraft, CaseError> {
    serde_json::to_value(draft)
        .map(|draft| {
            if !holds(Control::ReportSecrets) {
                return clean::value(draft);
            }
            let (draft, found) = secrets::scrub(draft);
            found.log("casebook.submit_report");
            draft
        })
        .and_then(serde_json::from_value)
        .map_err(|_| CaseError::Malformed)
}
