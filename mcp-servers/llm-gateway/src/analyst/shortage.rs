//! Recognises that something limited runs out: it fills, or its limit fell, and something waits for it.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::tools::telemetry::ServiceKind;

use super::{
    graph::Graph,
    measure::{Complaint, Measure, complaint},
    notes::Notes,
    shape::Shape,
    signature::Signature,
    walk::Walk,
    words::short,
};

/// The services whose shortage could explain the end of the walk: itself, and who asks a store.
fn holders<'a>(graph: Graph<'a>, walk: &'a Walk) -> Vec<&'a str> {
    let mut holders: Vec<&str> = walk.path.iter().rev().take(1).map(String::as_str).collect();
    if graph.kind(walk.end()) == ServiceKind::Database {
        holders.extend(walk.path.iter().rev().skip(1).take(1).map(String::as_str));
        holders.extend(graph.callers(walk.end()));
    }
    holders
}

/// The shortage that explains the end of the walk.
pub(crate) fn exhaustion(
    notes: &Notes,
    graph: Graph<'_>,
    walk: &Walk,
) -> Option<(String, Signature)> {
    holders(graph, walk)
        .into_iter()
        .find_map(|holder| shortage(notes, graph, holder).map(|found| (holder.to_owned(), found)))
}

/// Whether a rise is the one that hurts: large, and not over long before the trouble.
fn fills(notes: &Notes, full: DateTime<Utc>, from: f64, to: f64) -> bool {
    let in_time = notes
        .onset()
        .is_none_or(|onset| full >= onset - TimeDelta::minutes(5));
    in_time && to >= 1.5 * from
}

fn shortage(notes: &Notes, graph: Graph<'_>, holder: &str) -> Option<Signature> {
    let of = |wanted: Measure, least: f64| {
        graph
            .anomalies(holder)
            .filter(move |(measure, anomaly)| *measure == wanted && anomaly.score.abs() >= least)
            .max_by(|a, b| a.1.score.abs().total_cmp(&b.1.score.abs()))
            .map(|(_, anomaly)| anomaly)
    };
    let says = graph.complaints().find(|line| {
        line.service == holder && complaint(&line.template) == Some(Complaint::Exhausted)
    });
    let waiting = of(Measure::Waiting, 4.0).filter(|anomaly| anomaly.score > 0.0);
    let level = of(Measure::Level, 3.0).filter(|anomaly| anomaly.score > 0.0);
    let lowered = graph
        .anomalies(holder)
        .find(|(measure, anomaly)| {
            *measure == Measure::Limit && anomaly.after < 0.9 * anomaly.before
        })
        .map(|(_, anomaly)| anomaly);
    let limit_fell = lowered.is_some();
    let ramp = notes
        .series
        .iter()
        .filter(|series| series.service == holder)
        .find_map(|series| match series.shape {
            Shape::Ramp {
                start,
                full,
                from,
                to,
            } if lowered.is_none() && fills(notes, full, from, to) => {
                Some((series, start, from, to))
            }
            Shape::Ramp { .. } | Shape::Flat | Shape::Step { .. } => None,
        });
    // A level alone proves no shortage: something must wait, fail, or climb without end.
    if says.is_none() && waiting.is_none() && !(level.is_some() && (ramp.is_some() || limit_fell)) {
        return None;
    }
    if let Some((series, start, from, to)) = ramp {
        return Some(Signature::Exhaustion {
            what: series.metric.clone(),
            since: Some(start),
            gradual: true,
            from,
            to,
            limit_fell,
        });
    }
    let shown = level.or(waiting);
    // Where the limit itself fell, that is the beginning, whatever filled when.
    let fell_at = lowered.and_then(|anomaly| anomaly.first_breach_at);
    let since = fell_at.or_else(|| {
        let shown = [level, waiting].into_iter().flatten();
        shown.filter_map(|anomaly| anomaly.first_breach_at).min()
    });
    Some(Signature::Exhaustion {
        what: shown.map_or_else(
            || {
                says.map(|line| short(&line.template, 100))
                    .unwrap_or_default()
            },
            |anomaly| anomaly.metric.clone(),
        ),
        since,
        gradual: false,
        from: shown.map_or(0.0, |anomaly| anomaly.before),
        to: shown.map_or(0.0, |anomaly| anomaly.extreme),
        limit_fell,
    })
}
