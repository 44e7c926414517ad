//! Who calls whom, and what is wrong on the way: the view of the notes that the walk needs.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use nightshift_protocol::tools::telemetry::{
    EdgeDiff, LogTemplate, MetricAnomaly, OperationDiff, ServiceKind, Windows,
};

use super::{
    measure::{Measure, measure},
    notes::Notes,
    number::{float, ratio},
    words::{same_name, words},
};

/// What is wrong with the calls of one edge.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Trouble {
    /// How much larger the share of failed calls is.
    pub(crate) errors: f64,
    /// How many times more calls one request makes.
    pub(crate) fan_out: f64,
    /// How many times longer one call takes (the worse of median and 95th percentile).
    pub(crate) slower: f64,
    /// Milliseconds that the edge adds to one request.
    pub(crate) added_ms: f64,
    /// Milliseconds that are lost between caller and callee.
    pub(crate) gap_ms: f64,
}

impl Trouble {
    /// Reads an edge.
    pub(crate) fn of(edge: &EdgeDiff) -> Self {
        let (before, after) = (&edge.before, &edge.after);
        if after.calls == 0 {
            return Self {
                fan_out: 1.0,
                slower: 1.0,
                ..Self::default()
            };
        }
        let known = before.calls >= 3;
        let cost = |p50: f64, p95: f64, calls: f64| f64::midpoint(p50, p95) * calls;
        let usual = cost(before.p50_ms, before.p95_ms, before.calls_per_request);
        let now = cost(after.p50_ms, after.p95_ms, after.calls_per_request);
        let gap = after.gap_p50_ms.unwrap_or(0.0) - before.gap_p50_ms.unwrap_or(0.0);
        Self {
            errors: after.error_share - before.error_share,
            fan_out: if known {
                ratio(before.calls_per_request, after.calls_per_request, 0.5)
            } else {
                1.0
            },
            slower: if known {
                ratio(before.p50_ms, after.p50_ms, 2.0).max(ratio(before.p95_ms, after.p95_ms, 5.0))
            } else {
                1.0
            },
            added_ms: if known { now - usual } else { 0.0 },
            gap_ms: if known { gap } else { 0.0 },
        }
    }

    /// Whether one call takes clearly longer or fails clearly more often.
    pub(crate) fn hurts(&self) -> bool {
        self.errors >= 0.02 || (self.slower >= 1.5 && self.added_ms >= 3.0)
    }
}

/// A view of the notes as a graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Graph<'a> {
    notes: &'a Notes,
}

impl<'a> Graph<'a> {
    /// A view of these notes.
    pub(crate) const fn new(notes: &'a Notes) -> Self {
        Self { notes }
    }

    /// The name by which the telemetry knows this service.
    pub(crate) fn known(self, name: &str) -> Option<&'a str> {
        let names = self.names();
        names
            .iter()
            .find(|known| **known == name)
            .or_else(|| names.iter().find(|known| same_name(known, name)))
            .copied()
    }

    /// Every name in the topology.
    pub(crate) fn names(self) -> Vec<&'a str> {
        self.notes.services.as_ref().map_or_else(
            || {
                let mut names: BTreeSet<&str> = BTreeSet::new();
                for edge in self.edges() {
                    names.insert(&edge.from);
                    names.insert(&edge.to);
                }
                names.into_iter().collect()
            },
            |seen| {
                seen.got
                    .services
                    .iter()
                    .map(|service| service.name.as_str())
                    .collect()
            },
        )
    }

    /// What stands behind a name.
    pub(crate) fn kind(self, name: &str) -> ServiceKind {
        self.notes
            .services
            .as_ref()
            .and_then(|seen| {
                seen.got
                    .services
                    .iter()
                    .find(|service| service.name == name)
            })
            .map_or(ServiceKind::Service, |service| service.kind)
    }

    /// Edges with their statistics.
    pub(crate) fn edges(self) -> &'a [EdgeDiff] {
        self.notes
            .traces
            .as_ref()
            .map_or(&[], |seen| &seen.got.edges)
    }

    /// Operations with their statistics.
    pub(crate) fn operations(self, service: &str) -> impl Iterator<Item = &'a OperationDiff> {
        self.notes
            .traces
            .as_ref()
            .map_or(&[][..], |seen| &seen.got.operations)
            .iter()
            .filter(move |operation| operation.service == service)
    }

    /// Names that `node` calls, by topology or traces.
    pub(crate) fn callees(self, node: &str) -> BTreeSet<&'a str> {
        self.pairs()
            .filter(|(from, to)| *from == node && from != to)
            .map(|(_, to)| to)
            .collect()
    }

    /// Names that call `node`.
    pub(crate) fn callers(self, node: &str) -> BTreeSet<&'a str> {
        self.pairs()
            .filter(|(from, to)| *to == node && from != to)
            .map(|(from, _)| from)
            .collect()
    }

    fn pairs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let seen = self
            .notes
            .services
            .as_ref()
            .map_or(&[][..], |seen| &seen.got.edges);
        seen.iter()
            .map(|edge| (edge.from.as_str(), edge.to.as_str()))
            .chain(
                self.edges()
                    .iter()
                    .map(|edge| (edge.from.as_str(), edge.to.as_str())),
            )
    }

    /// Our services that nothing of ours calls: where users come in.
    pub(crate) fn entries(self) -> Vec<&'a str> {
        self.names()
            .into_iter()
            .filter(|name| self.kind(name) == ServiceKind::Service)
            .filter(|name| self.callers(name).is_empty())
            .filter(|name| !self.callees(name).is_empty() || self.names().len() == 1)
            .collect()
    }

    /// The statistics of one edge.
    pub(crate) fn edge(self, from: &str, to: &str) -> Option<&'a EdgeDiff> {
        self.edges()
            .iter()
            .find(|edge| edge.from == from && edge.to == to)
    }

    /// Whether a callee does its work as before although its caller is unhappy with it: then the caller
    /// gives up too early, or asks for the wrong thing. Time lost between the two is no such case.
    pub(crate) fn is_well(self, callee: &str, trouble: &Trouble) -> bool {
        let mut seen = self
            .operations(callee)
            .filter(|operation| operation.before.calls >= 3 && operation.after.calls >= 3)
            .peekable();
        seen.peek().is_some()
            && trouble.gap_ms < 5.0
            && seen.all(|operation| {
                let (before, after) = (&operation.before, &operation.after);
                after.error_share - before.error_share < 0.02
                    && ratio(before.p95_ms, after.p95_ms, 5.0) < 1.3
            })
    }

    /// Series of one service that changed, with what they measure.
    pub(crate) fn anomalies(
        self,
        service: &str,
    ) -> impl Iterator<Item = (Measure, &'a MetricAnomaly)> {
        self.notes
            .metrics
            .as_ref()
            .map_or(&[][..], |seen| &seen.got.anomalies)
            .iter()
            .filter(move |anomaly| anomaly.service == service)
            .map(|anomaly| (measure(&anomaly.metric, &anomaly.labels), anomaly))
    }

    /// Complaints in logs that are new or much more frequent, worst first.
    pub(crate) fn complaints(self) -> impl Iterator<Item = &'a LogTemplate> {
        self.notes
            .logs
            .as_ref()
            .map_or(&[][..], |seen| &seen.got.templates)
            .iter()
            .filter(|template| {
                ["error", "warn", "fatal", "critical"].contains(&template.level.as_str())
            })
            .filter(|template| template.after_per_minute >= 2.0 * template.before_per_minute + 0.3)
    }

    /// Services that the complaints of `service` name.
    pub(crate) fn blamed_by(self, service: &str) -> BTreeSet<&'a str> {
        let mut blamed = BTreeSet::new();
        for complaint in self.complaints().filter(|line| line.service == service) {
            let said = words(&format!("{} {}", complaint.template, complaint.sample));
            for name in self.names() {
                let parts = words(name);
                let named = !parts.is_empty()
                    && name != service
                    && (said.windows(parts.len()).any(|window| window == parts)
                        || said.contains(&parts.concat()));
                if named {
                    blamed.insert(name);
                }
            }
        }
        blamed
    }

    /// The windows that were compared.
    pub(crate) fn windows(self) -> Option<&'a Windows> {
        let notes = self.notes;
        notes
            .traces
            .as_ref()
            .map(|seen| &seen.got.windows)
            .or_else(|| notes.metrics.as_ref().map(|seen| &seen.got.windows))
            .or_else(|| notes.logs.as_ref().map(|seen| &seen.got.windows))
    }

    /// Requests a minute to a service before and after the onset, by its server operations.
    pub(crate) fn demand(self, service: &str) -> Option<(f64, f64)> {
        let windows = self.windows()?;
        let minutes = |from: DateTime<Utc>, to: DateTime<Utc>| {
            float((to - from).num_seconds().max(1).unsigned_abs()) / 60.0
        };
        let before_minutes = minutes(windows.before_from, windows.onset);
        let after_minutes = minutes(windows.onset, windows.after_to);
        let (mut before, mut after) = (0.0, 0.0);
        for operation in self.operations(service) {
            before += float(operation.before.calls);
            after += float(operation.after.calls);
        }
        (before > 0.0 && after > 0.0).then(|| (before / before_minutes, after / after_minutes))
    }
}
