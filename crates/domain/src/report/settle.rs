//! Turns an agent's draft into a report: what cites nothing that we recorded does not get in.
//!
//! The rules, in the order they are applied:
//! 1. A citation that names no evidence of this investigation is removed.
//! 2. A finding, timeline entry, exclusion or impact without a citation left is dropped.
//! 3. A cause without a citation left is dropped: the outcome is inconclusive.
//! 4. A named commit must appear in cited code evidence, otherwise the change is not accepted and
//!    the cause is dropped: blaming an innocent change is the worst answer.
//! 5. The component must appear in the cited evidence.
//! 6. Confidence is capped by how many kinds of telemetry agree: one kind 0.5, two 0.8, more 0.95;
//!    none at all 0.2. Below [`INCONCLUSIVE_BELOW`] the outcome is inconclusive.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, CitedEvidence, Dropped, Impact, Outcome, Report, ReportDraft, RootCause};
use crate::{AlertId, Evidence, EvidenceId, EvidenceKind};

/// A cause we are less sure of than this is not called one.
pub const INCONCLUSIVE_BELOW: f64 = 0.3;

/// Settles a draft against the evidence and the alerts of its investigation.
#[must_use]
pub fn settle(draft: ReportDraft, log: &[Evidence], related: &BTreeSet<AlertId>) -> Report {
    let mut desk = Desk {
        log: log.iter().map(|evidence| (evidence.id, evidence)).collect(),
        cited: BTreeSet::new(),
        dropped: Vec::new(),
    };
    let root_cause = draft.root_cause.and_then(|cause| desk.cause(cause));
    let impact = desk.impact(draft.impact);

    let mut timeline = draft.timeline;
    timeline.retain_mut(|entry| desk.keep("timeline", &entry.what, &mut entry.evidence));
    timeline.sort_by_key(|entry| entry.at);
    let mut findings = draft.findings;
    findings.retain_mut(|finding| desk.keep("finding", &finding.claim, &mut finding.evidence));
    let mut ruled_out = draft.ruled_out;
    ruled_out.retain_mut(|out| desk.keep("exclusion", &out.hypothesis, &mut out.evidence));
    let mut related_alerts = draft.related_alerts;
    related_alerts.retain(|alert| {
        let known = related.contains(&alert.alert);
        if !known {
            desk.drop(
                &alert.why,
                "names an alert that this investigation cannot see",
            );
        }
        known
    });

    Report {
        outcome: if root_cause.is_some() {
            Outcome::RootCauseFound
        } else {
            Outcome::Inconclusive
        },
        summary: draft.summary,
        root_cause,
        impact,
        timeline,
        findings,
        ruled_out,
        related_alerts,
        next_steps: draft.next_steps,
        evidence: desk.listed(),
        dropped: desk.dropped,
    }
}

struct Desk<'a> {
    log: BTreeMap<EvidenceId, &'a Evidence>,
    cited: BTreeSet<EvidenceId>,
    dropped: Vec<Dropped>,
}

impl Desk<'_> {
    fn drop(&mut self, claim: &str, reason: impl Into<String>) {
        let claim = claim.chars().take(200).collect();
        self.dropped.push(Dropped {
            claim,
            reason: reason.into(),
        });
    }

    /// Removes citations of what we did not record.
    fn verify(&self, evidence: &mut Vec<EvidenceId>) {
        let mut seen = BTreeSet::new();
        evidence.retain(|id| self.log.contains_key(id) && seen.insert(*id));
    }

    fn keep(&mut self, what: &str, claim: &str, evidence: &mut Vec<EvidenceId>) -> bool {
        self.verify(evidence);
        if evidence.is_empty() {
            self.drop(claim, format!("a {what} that cites no recorded evidence"));
            return false;
        }
        self.cited.extend(evidence.iter().copied());
        true
    }

    fn impact(&mut self, mut impact: Impact) -> Impact {
        if self.keep("measure of impact", &impact.summary, &mut impact.evidence) {
            return Impact {
                failed_share: impact.failed_share.map(|share| share.clamp(0.0, 1.0)),
                ..impact
            };
        }
        Impact {
            summary: "not established by the evidence".to_owned(),
            failed_share: None,
            affected: Vec::new(),
            evidence: Vec::new(),
        }
    }

    fn cause(&mut self, mut cause: RootCause) -> Option<RootCause> {
        let statement = cause.statement.clone();
        self.verify(&mut cause.evidence);
        if cause.evidence.is_empty() {
            self.drop(&statement, "a root cause that cites no recorded evidence");
            return None;
        }
        let cited: Vec<&Evidence> = cause
            .evidence
            .iter()
            .filter_map(|id| self.log.get(id).copied())
            .collect();

        let named = cited
            .iter()
            .any(|evidence| mentions(evidence, &cause.component));
        let shown = match &cause.change {
            Change::Commit { commit, .. } => {
                commit.len() >= 7
                    && cited.iter().any(|evidence| {
                        evidence.kind == EvidenceKind::Code && mentions(evidence, commit)
                    })
            }
            Change::Flag { flag, .. } => cited.iter().any(|evidence| mentions(evidence, flag)),
            Change::NoChange { .. } => true,
        };
        let kinds: BTreeSet<EvidenceKind> = cited
            .iter()
            .map(|evidence| evidence.kind)
            .filter(|kind| kind.is_telemetry())
            .collect();

        if !named {
            self.drop(
                &statement,
                "the cited evidence does not mention the component",
            );
            return None;
        }
        if !shown {
            self.drop(
                &statement,
                "the cited evidence does not show the change it names",
            );
            return None;
        }
        let cap = match kinds.len() {
            0 => 0.2,
            1 => 0.5,
            2 => 0.8,
            _ => 0.95,
        };
        if cause.confidence > cap {
            let kinds = kinds.len();
            self.drop(
                &format!("confidence {:.2}", cause.confidence),
                format!("lowered to {cap}: {kinds} kind(s) of telemetry support the cause"),
            );
        }
        cause.confidence = if cause.confidence.is_finite() {
            cause.confidence.clamp(0.0, cap)
        } else {
            0.0
        };
        if cause.confidence < INCONCLUSIVE_BELOW {
            self.drop(&statement, "too little evidence to call it the cause");
            return None;
        }
        self.cited.extend(cause.evidence.iter().copied());
        Some(cause)
    }

    fn listed(&self) -> Vec<CitedEvidence> {
        self.cited
            .iter()
            .filter_map(|id| self.log.get(id))
            .map(|evidence| CitedEvidence {
                id: evidence.id,
                kind: evidence.kind,
                tool: evidence.tool.clone(),
                arguments: evidence.arguments.clone(),
                digest: evidence.digest.clone(),
                truncated: evidence.truncated,
                recorded_at: evidence.recorded_at,
            })
            .collect()
    }
}

/// Whether the recorded answer or its arguments contain `text`.
fn mentions(evidence: &Evidence, text: &str) -> bool {
    !text.trim().is_empty()
        && (evidence.content.to_string().contains(text)
            || evidence.arguments.to_string().contains(text))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::report::{CauseKind, Finding};

    const COMMIT: &str = "4f2c1e0d9b8a7f6e5d4c3b2a1908f7e6d5c4b3a2";

    fn evidence(kind: EvidenceKind, content: serde_json::Value) -> Evidence {
        Evidence {
            id: EvidenceId::generate(),
            kind,
            tool: "telemetry.some_tool".to_owned(),
            arguments: json!({}),
            content,
            digest: String::new(),
            truncated: false,
            recorded_at: DateTime::UNIX_EPOCH,
        }
    }

    fn draft(change: Change, cited: &[&Evidence]) -> ReportDraft {
        let evidence: Vec<EvidenceId> = cited.iter().map(|evidence| evidence.id).collect();
        ReportDraft {
            summary: "ledger is slow".to_owned(),
            root_cause: Some(RootCause {
                component: "ledger".to_owned(),
                kind: CauseKind::CodeRegression,
                change,
                statement: "ledger asks once per row".to_owned(),
                confidence: 0.99,
                evidence: evidence.clone(),
            }),
            impact: Impact {
                summary: "one in ten requests fails".to_owned(),
                failed_share: Some(0.1),
                affected: vec!["web".to_owned()],
                evidence,
            },
            timeline: Vec::new(),
            findings: Vec::new(),
            ruled_out: Vec::new(),
            related_alerts: Vec::new(),
            next_steps: Vec::new(),
        }
    }

    fn commit() -> Change {
        Change::Commit {
            commit: COMMIT.to_owned(),
            service: "ledger".to_owned(),
            deployed_at: None,
        }
    }

    #[test]
    fn a_cause_that_cites_what_we_did_not_record_is_dropped() {
        let recorded = evidence(EvidenceKind::Traces, json!({ "service": "ledger" }));
        let invented = evidence(EvidenceKind::Traces, json!({ "service": "ledger" }));
        let none = Change::NoChange {
            trigger: "more traffic".to_owned(),
        };

        let report = settle(draft(none, &[&invented]), &[recorded], &BTreeSet::new());

        assert_eq!(report.outcome, Outcome::Inconclusive);
        assert!(report.evidence.is_empty());
        assert_eq!(report.impact.failed_share, None);
    }

    #[test]
    fn a_commit_is_blamed_only_if_its_diff_was_read() {
        let traces = evidence(EvidenceKind::Traces, json!({ "service": "ledger" }));
        let list = evidence(EvidenceKind::Changes, json!({ "commit": COMMIT }));
        let diff = evidence(
            EvidenceKind::Code,
            json!({ "commit": COMMIT, "diff": "+for" }),
        );
        let log = [traces.clone(), list.clone(), diff.clone()];

        let blamed = settle(draft(commit(), &[&traces, &list]), &log, &BTreeSet::new());
        assert_eq!(blamed.outcome, Outcome::Inconclusive);

        let shown = settle(draft(commit(), &[&traces, &diff]), &log, &BTreeSet::new());
        assert_eq!(shown.outcome, Outcome::RootCauseFound);
    }

    #[test]
    fn confidence_follows_the_kinds_of_telemetry_and_not_the_model() {
        let traces = evidence(EvidenceKind::Traces, json!({ "service": "ledger" }));
        let logs = evidence(EvidenceKind::Logs, json!({ "service": "ledger" }));
        let more_traces = evidence(EvidenceKind::Traces, json!({ "service": "ledger" }));
        let log = [traces.clone(), logs.clone(), more_traces.clone()];
        let none = || Change::NoChange {
            trigger: "the provider fails".to_owned(),
        };
        let confidence = |cited: &[&Evidence]| {
            let report = settle(draft(none(), cited), &log, &BTreeSet::new());
            report.root_cause.unwrap().confidence
        };

        assert!((confidence(&[&traces, &more_traces]) - 0.5).abs() < 1e-9);
        assert!((confidence(&[&traces, &logs]) - 0.8).abs() < 1e-9);
    }

    #[test]
    fn a_finding_without_a_citation_does_not_get_in() {
        let traces = evidence(EvidenceKind::Traces, json!({ "service": "ledger" }));
        let none = Change::NoChange {
            trigger: "unknown".to_owned(),
        };
        let mut draft = draft(none, &[&traces]);
        draft.findings = vec![
            Finding {
                claim: "seen".to_owned(),
                evidence: vec![traces.id],
            },
            Finding {
                claim: "felt".to_owned(),
                evidence: Vec::new(),
            },
        ];

        let report = settle(draft, &[traces], &BTreeSet::new());

        assert_eq!(report.findings.len(), 1);
        assert!(report.dropped.iter().any(|dropped| dropped.claim == "felt"));
    }
}
