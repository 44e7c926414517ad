//! Walks the call graph from the service that alerts to the deepest one that is itself in trouble:
//! the loud service is usually a victim.

use nightshift_protocol::tools::telemetry::ServiceKind;
use serde::{Deserialize, Serialize};

use super::{
    graph::{Graph, Trouble},
    measure::{Complaint, Measure, complaint},
    notes::Notes,
    number::{float, millis, percent, plain},
    words::telling,
};

/// The way from the alert to the trouble.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Walk {
    /// From the service that alerts to the deepest one in trouble.
    pub(crate) path: Vec<String>,
    /// Why each step was taken, one fewer than the path.
    pub(crate) why: Vec<String>,
}

impl Walk {
    /// The deepest service in trouble.
    pub(crate) fn end(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }
}

/// Walks as far as the evidence carries.
pub(crate) fn walk(notes: &Notes) -> Option<Walk> {
    let graph = Graph::new(notes);
    let start = start(notes, graph)?;
    let mut walk = Walk {
        path: vec![start.to_owned()],
        why: Vec::new(),
    };
    while let Some((next, why)) = step(graph, &walk) {
        walk.path.push(next.to_owned());
        walk.why.push(why);
    }
    Some(walk)
}

/// Where to begin: the service of the alert, else one that its words name, else an entry.
fn start<'a>(notes: &'a Notes, graph: Graph<'a>) -> Option<&'a str> {
    let alert = notes.alert.as_ref().map(|seen| &seen.got);
    if let Some(name) = alert.and_then(|alert| alert.service.as_deref()) {
        return Some(graph.known(name).unwrap_or(name));
    }
    let said = alert.map(|alert| telling(&alert.title)).unwrap_or_default();
    let named = graph
        .names()
        .into_iter()
        .find(|name| !said.is_empty() && telling(name).iter().any(|word| said.contains(word)));
    named.or_else(|| {
        graph.entries().into_iter().max_by(|a, b| {
            let worst = |name: &str| {
                graph
                    .anomalies(name)
                    .map(|(_, a)| a.score.abs())
                    .fold(0.0, f64::max)
            };
            worst(a).total_cmp(&worst(b))
        })
    })
}

fn step<'a>(graph: Graph<'a>, walk: &Walk) -> Option<(&'a str, String)> {
    let here = walk.end();
    let unseen = |name: &str| !walk.path.iter().any(|known| known == name);
    let traced: Vec<(&'a str, Trouble)> = graph
        .edges()
        .iter()
        .filter(|edge| edge.from == here && unseen(&edge.to))
        .map(|edge| (edge.to.as_str(), Trouble::of(edge)))
        .collect();

    // More calls for each request are made by the caller: the walk ends where they begin.
    let multiplied = traced
        .iter()
        .any(|(_, trouble)| trouble.fan_out >= 1.8 && trouble.errors < 0.2);
    if multiplied {
        return None;
    }
    let worst = traced
        .iter()
        .filter(|(to, trouble)| trouble.hurts() && !graph.is_well(to, trouble))
        .max_by(|a, b| weight(&a.1).total_cmp(&weight(&b.1)));
    if let Some((to, trouble)) = worst
        && !explains_itself(graph, here, trouble)
    {
        return Some((to, why(here, to, trouble)));
    }
    if !traced.is_empty() && worst.is_none() && graph.blamed_by(here).is_empty() {
        return None;
    }
    if worst.is_some() {
        return None;
    }
    untraced(graph, here, &unseen)
}

/// How much an edge matters: failures first, then the time that it adds.
fn weight(trouble: &Trouble) -> f64 {
    1_000_000.0 * (trouble.errors.max(0.0) * 20.0).round() + trouble.added_ms
}

/// Whether the service's own shortage explains the slow or failed calls it makes, so that the callee
/// is not to blame: it waits for a connection before it calls.
fn explains_itself(graph: Graph<'_>, here: &str, trouble: &Trouble) -> bool {
    let short_of = graph
        .anomalies(here)
        .any(|(measure, anomaly)| measure == Measure::Waiting && anomaly.score >= 4.0);
    let says_so = graph.complaints().any(|line| {
        line.service == here && complaint(&line.template) == Some(Complaint::Exhausted)
    });
    short_of && says_so && trouble.errors < 0.5
}

fn why(from: &str, to: &str, trouble: &Trouble) -> String {
    let mut parts = Vec::new();
    if trouble.errors >= 0.02 {
        parts.push(format!("{} more of them fail", percent(trouble.errors)));
    }
    if trouble.slower >= 1.5 && trouble.added_ms >= 3.0 {
        parts.push(format!(
            "they add {} to a request ({} times slower)",
            millis(trouble.added_ms),
            plain(trouble.slower)
        ));
    }
    format!("calls from {from} to {to}: {}", parts.join(", "))
}

/// Without spans of an edge: follow what the logs blame, or the dependency that broke first.
fn untraced<'a>(
    graph: Graph<'a>,
    here: &str,
    unseen: &dyn Fn(&str) -> bool,
) -> Option<(&'a str, String)> {
    let own_shortage = graph.complaints().any(|line| {
        line.service == here && complaint(&line.template) == Some(Complaint::Exhausted)
    });
    if own_shortage {
        return None;
    }
    let callees = graph.callees(here);
    let blamed = graph
        .blamed_by(here)
        .into_iter()
        .filter(|name| unseen(name) && (callees.contains(name) || callees.is_empty()))
        .filter(|name| graph.edge(here, name).is_none())
        .find(|name| graph.kind(name) != ServiceKind::Service || troubled(graph, name));
    if let Some(to) = blamed {
        return Some((
            to,
            format!("new complaints in the logs of {here} name {to}"),
        ));
    }
    let mine = first_breach(graph, here);
    callees
        .into_iter()
        .filter(|name| unseen(name) && graph.edge(here, name).is_none() && troubled(graph, name))
        .filter(|name| match (mine, first_breach(graph, name)) {
            (Some(mine), Some(theirs)) => theirs <= mine + 30.0,
            _ => true,
        })
        .min_by(|a, b| {
            let at = |name: &str| first_breach(graph, name).unwrap_or(f64::MAX);
            at(a).total_cmp(&at(b))
        })
        .map(|to| {
            (
                to,
                format!("{to}, which {here} calls, left its usual band no later"),
            )
        })
}

fn troubled(graph: Graph<'_>, name: &str) -> bool {
    graph.complaints().any(|line| line.service == name)
        || graph
            .anomalies(name)
            .any(|(measure, anomaly)| match measure {
                Measure::Errors
                | Measure::Latency
                | Measure::Waiting
                | Measure::Level
                | Measure::Restarts
                | Measure::CacheMisses => anomaly.score >= 4.0,
                Measure::Limit | Measure::CacheHits => anomaly.score <= -4.0,
                Measure::Demand | Measure::Other => false,
            })
}

/// Seconds since 1970 at which the service's symptoms first left their usual band.
fn first_breach(graph: Graph<'_>, name: &str) -> Option<f64> {
    graph
        .anomalies(name)
        .filter(|(measure, anomaly)| {
            matches!(
                measure,
                Measure::Errors
                    | Measure::Latency
                    | Measure::Waiting
                    | Measure::Level
                    | Measure::Restarts
            ) && anomaly.score >= 4.0
        })
        .filter_map(|(_, anomaly)| anomaly.first_breach_at)
        .min()
        .map(|at| float(at.timestamp().unsigned_abs()))
}
