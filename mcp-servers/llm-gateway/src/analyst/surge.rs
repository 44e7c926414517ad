//! Recognises demand that grew by itself: more requests come in where users come in, before anything
//! else breaks, and each of them costs what it always did.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    graph::Graph,
    measure::Measure,
    notes::Notes,
    number::{median, ratio},
    signature::Signature,
    walk::Walk,
};

/// Demand that is this many times the usual one is a surge.
const TIMES: f64 = 1.5;

/// A surge at the entries above the walk.
pub(crate) fn surge(notes: &Notes, graph: Graph<'_>, walk: &Walk) -> Option<(String, Signature)> {
    let mut entries = graph.entries();
    entries.extend(
        walk.path
            .first()
            .map(String::as_str)
            .filter(|_| graph.entries().is_empty()),
    );
    let found = entries.iter().find_map(|entry| {
        let counted = counted(graph, entry);
        match (graph.demand(entry), counted) {
            // Both see every request, or a fair share of them: they must agree. A single series
            // may grow only because its requests moved there from another one.
            (Some((before, after)), counted) if after / before >= TIMES => {
                let since = counted.and_then(|(_, _, since)| since);
                (counted.is_some() || !has_counters(notes, entry))
                    .then_some((entry, before, after, since))
            }
            (None, Some((before, after, since))) => Some((entry, before, after, since)),
            (Some(_) | None, _) => None,
        }
    });
    let (entry, before, after, since) = found?;
    let symptoms = first_symptom(notes);
    if let (Some(since), Some(symptoms)) = (since, symptoms)
        && since > symptoms + TimeDelta::seconds(90)
    {
        return None;
    }
    Some((
        (*entry).to_owned(),
        Signature::Surge {
            before,
            after,
            times: ratio(before, after, 0.01),
            since,
        },
    ))
}

/// Demand as counted by the entry's own series.
fn counted(graph: Graph<'_>, entry: &str) -> Option<(f64, f64, Option<DateTime<Utc>>)> {
    let grown: Vec<_> = graph
        .anomalies(entry)
        .filter(|(measure, anomaly)| {
            *measure == Measure::Demand && anomaly.score >= 4.0 && anomaly.before > 0.0
        })
        .map(|(_, anomaly)| anomaly)
        .filter(|anomaly| anomaly.after / anomaly.before >= TIMES)
        .collect();
    if grown.is_empty() {
        return None;
    }
    let before = median(grown.iter().map(|anomaly| anomaly.before).collect());
    let after = median(grown.iter().map(|anomaly| anomaly.after).collect());
    Some((
        before,
        after,
        grown
            .iter()
            .filter_map(|anomaly| anomaly.first_breach_at)
            .min(),
    ))
}

fn has_counters(notes: &Notes, entry: &str) -> bool {
    notes.services.as_ref().is_some_and(|seen| {
        seen.got.services.iter().any(|service| {
            service.name == entry
                && service.metrics.iter().any(|metric| {
                    super::measure::measure(metric, &std::collections::BTreeMap::new())
                        == Measure::Demand
                })
        })
    })
}

/// When the first symptom left its usual band.
fn first_symptom(notes: &Notes) -> Option<DateTime<Utc>> {
    notes
        .metrics
        .as_ref()?
        .got
        .anomalies
        .iter()
        .filter(|anomaly| {
            let measure = super::measure::measure(&anomaly.metric, &anomaly.labels);
            matches!(
                measure,
                Measure::Errors | Measure::Latency | Measure::Waiting
            ) && anomaly.score >= 4.0
        })
        .filter_map(|anomaly| anomaly.first_breach_at)
        .min()
}
