//! `list_services`: what was seen, and who calls whom.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use nightshift_protocol::tools::telemetry::{
    EdgeSeen, ListServicesArgs, ServiceKind, ServiceSeen, Services,
};

use crate::{
    backend::Backend,
    model::{Batch, LogRecord, RawSeries, Span, Topology},
    question::{Answered, Unanswerable, ask, calculate},
};

/// Names of metrics that are listed for one service.
const MOST_METRICS: usize = 60;

/// Answers `list_services`.
pub async fn answer(
    backend: &dyn Backend,
    fired_at: DateTime<Utc>,
    args: ListServicesArgs,
) -> Result<Answered<Services>, Unanswerable> {
    let asked = ask(backend, args.range, fired_at)?;
    let logs = backend.logs(asked.interval).await?;
    let spans = backend.spans(asked.interval).await?;
    let metrics = backend.metrics(asked.interval).await?;
    let topology = backend.topology(asked.interval).await?;
    calculate(move || Ok(list(&logs, &spans, &metrics, &topology))).await?
}

#[derive(Default)]
struct Seen<'a> {
    log_lines: u64,
    spans: u64,
    metrics: BTreeSet<&'a str>,
}

fn list(
    logs: &Batch<LogRecord>,
    spans: &Batch<Span>,
    metrics: &[RawSeries],
    topology: &Topology,
) -> Answered<Services> {
    let mut seen: BTreeMap<&str, Seen<'_>> = BTreeMap::new();
    let mut edges: BTreeSet<(&str, &str)> = BTreeSet::new();
    for name in topology.services.keys() {
        seen.entry(name).or_default();
    }
    for edge in &topology.edges {
        edges.insert((&edge.from, &edge.to));
    }
    for line in logs.iter() {
        seen.entry(&line.service).or_default().log_lines += 1;
    }
    for span in spans.iter() {
        seen.entry(&span.service).or_default().spans += 1;
        if let Some(peer) = &span.peer {
            edges.insert((&span.service, peer));
        }
    }
    for series in metrics {
        seen.entry(&series.key.service)
            .or_default()
            .metrics
            .insert(&series.key.metric);
    }
    for (from, to) in &edges {
        seen.entry(from).or_default();
        seen.entry(to).or_default();
    }
    let truncated = seen.values().any(|one| one.metrics.len() > MOST_METRICS);
    let services = seen.iter().map(|(name, one)| ServiceSeen {
        name: (*name).to_owned(),
        kind: topology.services.get(*name).copied().unwrap_or(
            // Whoever tells us nothing of itself is most likely not ours.
            if one.log_lines + one.spans > 0 || !one.metrics.is_empty() {
                ServiceKind::Service
            } else {
                ServiceKind::External
            },
        ),
        log_lines: one.log_lines,
        spans: one.spans,
        metrics: one
            .metrics
            .iter()
            .take(MOST_METRICS)
            .map(|name| (*name).to_owned())
            .collect(),
    });
    let answer = Services {
        services: services.collect(),
        edges: edges
            .iter()
            .map(|(from, to)| EdgeSeen {
                from: (*from).to_owned(),
                to: (*to).to_owned(),
            })
            .collect(),
    };
    Answered { answer, truncated }
}
