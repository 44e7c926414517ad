//! Whom it hurts: failed share and latency where users come in, and who is dragged down.

use nightshift_domain::report::Impact;
use nightshift_protocol::tools::telemetry::{OperationDiff, ServiceKind};

use crate::analyst::{
    graph::{Graph, Trouble},
    measure::Measure,
    notes::Notes,
    number::{float, millis, percent},
    report::tidy,
    verdict::Verdict,
};

/// The impact as measured.
pub(crate) fn impact(notes: &Notes, verdict: &Verdict) -> Impact {
    let graph = Graph::new(notes);
    let affected = affected(graph, verdict);
    let entry = graph
        .entries()
        .into_iter()
        .find(|entry| graph.operations(entry).next().is_some());
    let alerted = verdict.diagnosis.walk.path.first().map(String::as_str);
    let place = entry.or(alerted);
    let operations: Vec<&OperationDiff> = place
        .map(|place| {
            graph
                .operations(place)
                .filter(|operation| operation.after.calls > 0)
                .collect()
        })
        .unwrap_or_default();
    let calls: f64 = operations
        .iter()
        .map(|operation| float(operation.after.calls))
        .sum();
    let failed: f64 = operations
        .iter()
        .map(|operation| float(operation.after.calls) * operation.after.error_share)
        .sum();
    // A share of a handful of requests is no share.
    let failed_share = (calls >= 20.0).then(|| failed / calls);
    let worst = operations
        .iter()
        .filter(|operation| operation.before.calls > 0)
        .max_by(|a, b| {
            let added =
                |operation: &OperationDiff| operation.after.p95_ms - operation.before.p95_ms;
            added(a).total_cmp(&added(b))
        });
    let mut parts = Vec::new();
    if let (Some(place), Some(share)) = (place, failed_share) {
        parts.push(if share < 0.0005 {
            format!("no requests to {place} fail")
        } else {
            format!("{} of the requests to {place} fail", percent(share))
        });
    }
    if let Some(operation) = worst
        && operation.after.p95_ms > 1.2 * operation.before.p95_ms
    {
        parts.push(format!(
            "the slowest 5 % of `{}` take {} instead of {}",
            operation.operation,
            millis(operation.after.p95_ms),
            millis(operation.before.p95_ms)
        ));
    }
    if !affected.is_empty() {
        parts.push(match affected.as_slice() {
            [one] => format!("{one} is dragged down"),
            many => format!("{} are dragged down", many.join(", ")),
        });
    }
    let summary = if parts.is_empty() {
        "The alert fired; no other measure of its effect on users was found.".to_owned()
    } else {
        let text = parts.join("; ");
        let mut letters = text.chars();
        let first: String = letters
            .next()
            .map(|c| c.to_uppercase().collect())
            .unwrap_or_default();
        format!("{first}{}.", letters.as_str())
    };
    let evidence = notes
        .traces
        .iter()
        .map(|seen| seen.ev)
        .chain(notes.metrics.iter().map(|seen| seen.ev))
        .chain(notes.alert.iter().map(|seen| seen.ev))
        .take(2)
        .collect();
    Impact {
        summary,
        failed_share,
        affected,
        evidence: tidy(evidence),
    }
}

/// Our services above the cause whose own requests fail or are slow.
fn affected(graph: Graph<'_>, verdict: &Verdict) -> Vec<String> {
    let cause = verdict
        .cause
        .as_ref()
        .map_or(verdict.diagnosis.component.as_str(), |cause| {
            cause.component.as_str()
        });
    let mut reached = vec![cause];
    let mut at = 0;
    while let Some(name) = reached.get(at).copied() {
        for caller in graph.callers(name) {
            if !reached.contains(&caller) {
                reached.push(caller);
            }
        }
        at += 1;
    }
    reached
        .into_iter()
        .skip(1)
        .filter(|name| graph.kind(name) == ServiceKind::Service)
        .filter(|name| {
            verdict.diagnosis.walk.path.iter().any(|step| step == name)
                || graph.operations(name).any(|operation| {
                    operation.after.error_share - operation.before.error_share >= 0.02
                        || operation.after.p95_ms > 1.5 * operation.before.p95_ms + 3.0
                })
                || graph
                    .edges()
                    .iter()
                    .any(|edge| edge.from == *name && Trouble::of(edge).hurts())
                || graph.anomalies(name).any(|(measure, anomaly)| {
                    matches!(measure, Measure::Errors | Measure::Latency) && anomaly.score >= 4.0
                })
        })
        .map(str::to_owned)
        .collect()
}
