//! What came of one demo.

use nightshift_domain::{InvestigationId, Report};
use serde::Serialize;

use super::expected::Expected;
use crate::api::Investigation;

/// What came of one demo; its JSON is the last line of `demo --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// From the accepted alert to a granted sandbox.
    pub alert_to_claim_ms: Option<i64>,
    /// From the accepted alert to the provider's yes to the start.
    pub alert_to_start_ms: Option<i64>,
    /// From the accepted alert to the first request at the LLM gateway.
    pub alert_to_working_ms: Option<i64>,
    /// From the accepted alert to the settled report.
    pub alert_to_report_ms: Option<i64>,
    /// Which investigation.
    pub investigation: InvestigationId,
    /// What it found.
    pub report: Report,
    /// What it should have found.
    pub expected: Expected,
    /// Whether it did.
    pub correct: bool,
}

impl Outcome {
    pub(super) fn of(investigation: &Investigation, report: Report, expected: Expected) -> Self {
        let after = |kind| investigation.after(kind);
        Self {
            alert_to_claim_ms: after("claimed"),
            alert_to_start_ms: after("started"),
            alert_to_working_ms: after("working"),
            alert_to_report_ms: after("reported"),
            investigation: investigation.id,
            correct: expected.is_named_by(&report),
            report,
            expected,
        }
    }
}
