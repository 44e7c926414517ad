//! How alerts, evidence and messages look to the agent: bounded, and never silently.

use nightshift_domain::{Evidence, alert::Alert};
use nightshift_mcp_kit::fit::{self, ANSWER_BYTES, json_bytes};
use nightshift_protocol::tools::casebook::{
    AlertView, EvidenceList, EvidenceRow, Inbox, InboxMessage, RelatedAlerts,
};
use serde_json::{Value, json};

/// What the details of the one alert may take, in bytes of JSON.
pub(super) const ONE_ALERT_BYTES: usize = 32 * 1024;
/// What the details of each neighbour may take, in bytes of JSON.
const NEIGHBOUR_BYTES: usize = 2 * 1024;
/// What is shown of a title, in bytes.
const TITLE_BYTES: usize = 1024;

/// An alert whose details take at most `details_bytes`, and whether something was cut.
pub(super) fn alert(alert: Alert, details_bytes: usize) -> (AlertView, bool) {
    let signal = alert.signal;
    let (title, title_cut) = fit::text(signal.title, TITLE_BYTES);
    let (details, details_cut) = within(signal.details, details_bytes);
    let view = AlertView {
        alert: alert.id,
        incident: alert.incident,
        source: alert.source,
        title,
        service: signal.service,
        severity: signal.severity,
        status: signal.status,
        fired_at: signal.fired_at,
        details,
    };
    (view, title_cut || details_cut)
}

/// The neighbours, the farthest left out where they do not fit.
pub(super) fn related(alerts: Vec<Alert>) -> (RelatedAlerts, bool) {
    let (alerts, cut): (Vec<_>, Vec<_>) = alerts
        .into_iter()
        .map(|it| alert(it, NEIGHBOUR_BYTES))
        .unzip();
    let (answer, shortened) = fit::list(RelatedAlerts { alerts }, |answer| &mut answer.alerts);
    (answer, shortened || cut.contains(&true))
}

/// Every piece of evidence; long arguments are replaced where the list does not fit otherwise.
pub(super) fn list(evidence: Vec<Evidence>) -> EvidenceList {
    let mut list = EvidenceList {
        evidence: evidence.into_iter().map(row).collect(),
    };
    for allowed in [1024, 128, 0] {
        if json_bytes(&list).is_some_and(|bytes| bytes <= ANSWER_BYTES) {
            break;
        }
        for row in &mut list.evidence {
            row.arguments = within(std::mem::take(&mut row.arguments), allowed).0;
        }
    }
    list
}

/// A piece of evidence without its content.
pub(super) fn row(evidence: Evidence) -> EvidenceRow {
    EvidenceRow {
        evidence: evidence.id,
        kind: evidence.kind,
        tool: evidence.tool,
        arguments: evidence.arguments,
        recorded_at: evidence.recorded_at,
    }
}

/// The questions that fit; the others come once these are answered.
pub(super) fn inbox(messages: Vec<InboxMessage>) -> Inbox {
    fit::list(Inbox { messages }, |inbox| &mut inbox.messages).0
}

/// The value, or a note of how much was left out.
fn within(value: Value, bytes: usize) -> (Value, bool) {
    match json_bytes(&value) {
        Some(taken) if taken > bytes => (json!({ "left_out_bytes": taken }), true),
        Some(_) | None => (value, false),
    }
}
