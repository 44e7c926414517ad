//! What the trouble looks like where it starts. Kinds of evidence are told apart, not added up.

use chrono::{DateTime, Utc};
use nightshift_domain::EvidenceId;
use nightshift_protocol::tools::telemetry::{EdgeDiff, ServiceKind};
use serde::{Deserialize, Serialize};

use super::{
    graph::{Graph, Trouble},
    measure::{Complaint, Measure, complaint},
    notes::Notes,
    number::ratio,
    shape::Shape,
    shortage, surge,
    walk::{Walk, walk},
    words::short,
};

/// What the trouble looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "looks", rename_all = "snake_case")]
pub(crate) enum Signature {
    /// One request makes more calls than before.
    FanOut {
        /// Who is called.
        callee: String,
        /// Calls for each request before.
        before: f64,
        /// Calls for each request after.
        after: f64,
    },
    /// Something limited runs out.
    Exhaustion {
        /// The series that shows it, or words of the log line that says it.
        what: String,
        /// When it began to fill, where that was seen; it may be long before the alert.
        since: Option<DateTime<Utc>>,
        /// Whether it fills little by little.
        gradual: bool,
        /// Its usual level.
        from: f64,
        /// Its level in trouble.
        to: f64,
        /// Whether the limit itself was lowered.
        limit_fell: bool,
    },
    /// Calls to a system outside our control fail or are slow.
    Outside {
        /// Who calls it.
        caller: String,
        /// Share of failed calls before.
        errors_before: f64,
        /// Share of failed calls after.
        errors_after: f64,
        /// 95th percentile in milliseconds before.
        p95_before: f64,
        /// 95th percentile in milliseconds after.
        p95_after: f64,
    },
    /// More requests arrive.
    Surge {
        /// Requests a minute (or what the series counts) before.
        before: f64,
        /// The same after.
        after: f64,
        /// How many times more.
        times: f64,
        /// When it was first seen.
        since: Option<DateTime<Utc>>,
    },
    /// A cache answers less often.
    CacheMisses {
        /// The series that shows it.
        metric: String,
        /// Before.
        before: f64,
        /// After.
        after: f64,
    },
    /// Something fails that did not fail before.
    Errors {
        /// What the logs say, where they say something new.
        says: Option<String>,
        /// What that complains of.
        complaint: Option<Complaint>,
        /// The operation that fails most.
        operation: Option<String>,
        /// How much larger the share of failures is.
        share: f64,
    },
    /// A store answers slowly although it is not asked more often.
    SlowStore {
        /// Who asks.
        caller: String,
        /// 95th percentile in milliseconds before.
        before_ms: f64,
        /// After.
        after_ms: f64,
    },
    /// Time is lost between two services.
    Network {
        /// Who calls.
        from: String,
        /// Milliseconds lost.
        gap_ms: f64,
    },
    /// A service works longer itself.
    SelfTime {
        /// The operation.
        operation: String,
        /// Milliseconds of its own work before (95th percentile).
        before_ms: f64,
        /// After.
        after_ms: f64,
    },
    /// Nothing that can be named.
    Unclear,
}

/// Where the trouble starts and what it looks like there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Diagnosis {
    /// The way from the alert.
    pub(crate) walk: Walk,
    /// The service or outside system where it starts.
    pub(crate) component: String,
    /// What it looks like there.
    pub(crate) signature: Signature,
    /// What shows it.
    pub(crate) evidence: Vec<EvidenceId>,
}

/// Names where the trouble starts and what it looks like there.
pub(crate) fn diagnose(notes: &Notes) -> Option<Diagnosis> {
    let walk = walk(notes)?;
    let graph = Graph::new(notes);
    let (component, signature) = fan_out(graph, &walk)
        .or_else(|| surge::surge(notes, graph, &walk))
        .or_else(|| outside(graph, &walk))
        .or_else(|| shortage::exhaustion(notes, graph, &walk))
        .or_else(|| cache(graph, &walk))
        .or_else(|| errors(graph, &walk))
        .or_else(|| slow_store(graph, &walk))
        .or_else(|| network(graph, &walk))
        .or_else(|| self_time(graph, &walk))
        .unwrap_or_else(|| (walk.end().to_owned(), Signature::Unclear));
    let evidence = supporting(notes, graph, &component, &signature);
    Some(Diagnosis {
        walk,
        component,
        signature,
        evidence,
    })
}

/// More calls for each request, at the end of the walk, along it, or into it.
fn fan_out(graph: Graph<'_>, walk: &Walk) -> Option<(String, Signature)> {
    let on_path = |name: &str| walk.path.iter().any(|known| known == name);
    let matters = |edge: &&EdgeDiff| {
        let trouble = Trouble::of(edge);
        let more = edge.after.calls_per_request - edge.before.calls_per_request;
        let calls = edge.before.calls >= 3 && edge.after.calls >= 5;
        // Calls that fail are made again: that is an effect, not the cause.
        let again = trouble.errors >= 0.05 && trouble.fan_out < 4.0;
        calls && more >= 1.0 && trouble.fan_out >= 1.8 && !again
    };
    graph
        .edges()
        .iter()
        .filter(|edge| on_path(&edge.from) || edge.to == walk.end())
        .filter(matters)
        .max_by(|a, b| {
            let grown =
                |edge: &EdgeDiff| Trouble::of(edge).added_ms.max(0.0) + Trouble::of(edge).fan_out;
            grown(a).total_cmp(&grown(b))
        })
        .map(|edge| {
            let signature = Signature::FanOut {
                callee: edge.to.clone(),
                before: edge.before.calls_per_request,
                after: edge.after.calls_per_request,
            };
            (edge.from.clone(), signature)
        })
}

fn outside(graph: Graph<'_>, walk: &Walk) -> Option<(String, Signature)> {
    let end = walk.end();
    if graph.kind(end) != ServiceKind::External {
        return None;
    }
    let callers = graph.callers(end);
    let worst = callers
        .iter()
        .filter_map(|caller| graph.edge(caller, end))
        .max_by(|a, b| Trouble::of(a).errors.total_cmp(&Trouble::of(b).errors));
    let previous = walk.path.iter().rev().nth(1).cloned();
    let caller = previous
        .or_else(|| worst.map(|edge| edge.from.clone()))
        .unwrap_or_default();
    let edge = graph.edge(&caller, end).or(worst);
    Some((
        end.to_owned(),
        Signature::Outside {
            caller,
            errors_before: edge.map_or(0.0, |edge| edge.before.error_share),
            errors_after: edge.map_or(0.0, |edge| edge.after.error_share),
            p95_before: edge.map_or(0.0, |edge| edge.before.p95_ms),
            p95_after: edge.map_or(0.0, |edge| edge.after.p95_ms),
        },
    ))
}

/// A cache on the way, or just above its end: what it no longer answers, the end must.
fn cache(graph: Graph<'_>, walk: &Walk) -> Option<(String, Signature)> {
    let callers = graph.callers(walk.end());
    let names = walk.path.iter().rev().map(String::as_str).chain(callers);
    names.into_iter().find_map(|name| {
        graph
            .anomalies(name)
            .find(|(measure, anomaly)| {
                let fewer = *measure == Measure::CacheHits
                    && anomaly.score <= -4.0
                    && anomaly.after < 0.8 * anomaly.before;
                let more = *measure == Measure::CacheMisses
                    && anomaly.score >= 4.0
                    && ratio(anomaly.before, anomaly.after, 0.1) >= 2.0;
                fewer || more
            })
            .map(|(_, anomaly)| {
                let signature = Signature::CacheMisses {
                    metric: anomaly.metric.clone(),
                    before: anomaly.before,
                    after: anomaly.after,
                };
                (name.to_owned(), signature)
            })
    })
}

fn errors(graph: Graph<'_>, walk: &Walk) -> Option<(String, Signature)> {
    let end = walk.end();
    let failing = graph
        .operations(end)
        .map(|operation| {
            (
                operation,
                operation.after.error_share - operation.before.error_share,
            )
        })
        .filter(|(_, share)| *share >= 0.02)
        .max_by(|a, b| a.1.total_cmp(&b.1));
    let counted = graph.anomalies(end).any(|(measure, anomaly)| {
        matches!(measure, Measure::Errors | Measure::Restarts) && anomaly.score >= 4.0
    });
    let inbound = graph
        .edges()
        .iter()
        .filter(|edge| edge.to == end && edge.after.calls >= 10)
        .map(|edge| Trouble::of(edge).errors)
        .fold(0.0, f64::max);
    let says = graph
        .complaints()
        .filter(|line| line.service == end)
        .max_by(|a, b| loud(a).total_cmp(&loud(b)));
    if failing.is_none()
        && !counted
        && inbound < 0.02
        && says.is_none_or(|line| line.level != "error")
    {
        return None;
    }
    Some((
        end.to_owned(),
        Signature::Errors {
            says: says.map(|line| short(&line.sample, 160)),
            complaint: says.and_then(|line| complaint(&line.template)),
            operation: failing.map(|(operation, _)| operation.operation.clone()),
            // A share of a handful of requests is no share.
            share: failing.map_or(inbound, |(operation, share)| {
                if operation.after.calls >= 10 {
                    share
                } else {
                    0.0
                }
            }),
        },
    ))
}

/// How much a template stands out: errors before warnings, new ones before more frequent ones.
fn loud(line: &nightshift_protocol::tools::telemetry::LogTemplate) -> f64 {
    let level = if line.level == "warn" { 1.0 } else { 1_000.0 };
    level * (line.after_per_minute - line.before_per_minute) / (1.0 + line.before_per_minute)
}

fn slow_store(graph: Graph<'_>, walk: &Walk) -> Option<(String, Signature)> {
    let end = walk.end();
    if graph.kind(end) != ServiceKind::Database {
        return None;
    }
    let caller = walk.path.iter().rev().nth(1)?;
    let edge = graph.edge(caller, end)?;
    (Trouble::of(edge).slower >= 1.5).then(|| {
        let signature = Signature::SlowStore {
            caller: caller.clone(),
            before_ms: edge.before.p95_ms,
            after_ms: edge.after.p95_ms,
        };
        (end.to_owned(), signature)
    })
}

fn network(graph: Graph<'_>, walk: &Walk) -> Option<(String, Signature)> {
    let from = walk.path.iter().rev().nth(1)?;
    let trouble = Trouble::of(graph.edge(from, walk.end())?);
    (trouble.gap_ms >= 5.0 && trouble.gap_ms >= 0.5 * trouble.added_ms).then(|| {
        let signature = Signature::Network {
            from: from.clone(),
            gap_ms: trouble.gap_ms,
        };
        (walk.end().to_owned(), signature)
    })
}

fn self_time(graph: Graph<'_>, walk: &Walk) -> Option<(String, Signature)> {
    let end = walk.end();
    graph
        .operations(end)
        .filter(|operation| {
            let (before, after) = (&operation.before, &operation.after);
            let grown = ratio(before.self_p95_ms, after.self_p95_ms, 2.0).max(ratio(
                before.self_p50_ms,
                after.self_p50_ms,
                2.0,
            ));
            grown >= 1.5 && after.self_p95_ms - before.self_p95_ms >= 3.0 && before.calls >= 3
        })
        .max_by(|a, b| {
            let added = |o: &nightshift_protocol::tools::telemetry::OperationDiff| {
                o.after.self_p95_ms - o.before.self_p95_ms
            };
            added(a).total_cmp(&added(b))
        })
        .map(|operation| {
            let signature = Signature::SelfTime {
                operation: operation.operation.clone(),
                before_ms: operation.before.self_p95_ms,
                after_ms: operation.after.self_p95_ms,
            };
            (end.to_owned(), signature)
        })
}

/// Every observation that supports the diagnosis, each kind of telemetry at most once or twice.
fn supporting(
    notes: &Notes,
    graph: Graph<'_>,
    component: &str,
    signature: &Signature,
) -> Vec<EvidenceId> {
    let mut cited = Vec::new();
    let touches = |from: &str, to: &str| from == component || to == component;
    let traced = graph.edges().iter().any(|edge| {
        let trouble = Trouble::of(edge);
        touches(&edge.from, &edge.to) && (trouble.hurts() || trouble.fan_out >= 1.8)
    }) || graph.operations(component).any(|op| {
        op.after.error_share - op.before.error_share >= 0.02
            || op.after.p95_ms >= 1.5 * op.before.p95_ms
    });
    if traced && let Some(seen) = &notes.traces {
        cited.push(seen.ev);
    }
    let callers = graph.callers(component);
    let near = |name: &str| name == component || callers.contains(name);
    let counted = notes.metrics.as_ref().filter(|seen| {
        seen.got
            .anomalies
            .iter()
            .any(|anomaly| near(&anomaly.service) && anomaly.score.abs() >= 3.0)
    });
    cited.extend(counted.map(|seen| seen.ev));
    let said = notes
        .logs
        .as_ref()
        .filter(|_| graph.complaints().any(|line| near(&line.service)));
    cited.extend(said.map(|seen| seen.ev));
    if matches!(
        signature,
        Signature::Exhaustion { .. } | Signature::Surge { .. }
    ) {
        let rising = notes
            .series
            .iter()
            .filter(|series| series.shape != Shape::Flat);
        cited.extend(
            rising
                .filter(|series| near(&series.service))
                .map(|series| series.ev),
        );
    }
    cited.extend(notes.requests.iter().map(|request| request.ev).take(1));
    cited.extend(
        notes
            .lines
            .iter()
            .filter(|line| near(&line.service))
            .map(|line| line.ev)
            .take(1),
    );
    cited.sort();
    cited.dedup();
    cited
}
