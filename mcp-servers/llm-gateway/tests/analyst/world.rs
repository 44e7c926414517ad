//! A made-up system before and after a fault: what each request costs, fails and waits for, computed
//! from the callees up to the entry.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::tools::{
    codebase::{Commit, Deploy, FileChange, FlagChange},
    telemetry::{EdgeStats, LogTemplate, MetricAnomaly, OperationStats, ServiceKind},
};
use rand::{Rng, rngs::StdRng};

/// A node of the system.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) kind: ServiceKind,
    /// Milliseconds of its own work for each request.
    pub(crate) own_ms: f64,
    /// Share of requests that it fails by itself.
    pub(crate) fails: f64,
    /// Callees: index, calls for each request, extra share that the caller sees fail, milliseconds lost
    /// on the way.
    pub(crate) calls: Vec<(usize, f64, f64, f64)>,
}

/// The system in one state.
#[derive(Debug, Clone)]
pub(crate) struct System {
    pub(crate) nodes: Vec<Node>,
    /// Requests a minute at the entry, which is node 0.
    pub(crate) demand: f64,
}

impl System {
    /// Milliseconds and failed share of one request to a node.
    pub(crate) fn cost(&self, at: usize) -> (f64, f64) {
        let node = &self.nodes[at];
        let (mut ms, mut fails) = (node.own_ms, node.fails);
        for (to, calls, extra, gap) in &node.calls {
            let (callee_ms, callee_fails) = self.cost(*to);
            ms += calls * (callee_ms + gap);
            fails = 1.0 - (1.0 - fails) * (1.0 - (callee_fails + extra).min(1.0));
        }
        (ms, fails.min(1.0))
    }

    /// Requests a minute that reach a node.
    pub(crate) fn arrivals(&self, at: usize) -> f64 {
        if at == 0 {
            return self.demand;
        }
        self.nodes
            .iter()
            .enumerate()
            .flat_map(|(from, node)| node.calls.iter().map(move |call| (from, call)))
            .filter(|(_, call)| call.0 == at)
            .map(|(from, call)| self.arrivals(from) * call.1)
            .sum()
    }
}

/// A series over time, oldest first.
pub(crate) type Points = Vec<(DateTime<Utc>, f64)>;

/// Everything that the tools answer from.
pub(crate) struct World {
    pub(crate) before: System,
    pub(crate) after: System,
    pub(crate) onset: DateTime<Utc>,
    pub(crate) fired_at: DateTime<Utc>,
    pub(crate) alerted: usize,
    pub(crate) extra: Vec<MetricAnomaly>,
    pub(crate) series: BTreeMap<(String, String), Points>,
    pub(crate) templates: Vec<LogTemplate>,
    pub(crate) deploys: Vec<Deploy>,
    pub(crate) commits: Vec<Commit>,
    pub(crate) flags: Vec<FlagChange>,
    /// The component that an investigator should name; any of these is right.
    pub(crate) components: Vec<String>,
    /// The guilty commit, where one is.
    pub(crate) guilty: Option<String>,
    pub(crate) title: &'static str,
}

/// Minutes of "before" and "after".
pub(crate) const BEFORE_MIN: f64 = 20.0;
pub(crate) const AFTER_MIN: f64 = 6.0;

impl World {
    /// Adds a commit and its deploy.
    pub(crate) fn deploy(
        &mut self,
        rng: &mut StdRng,
        service: &str,
        minutes_before_onset: f64,
        (path, text): (String, String),
    ) -> String {
        let commit = format!(
            "{:016x}{:016x}{:08x}",
            rng.random::<u64>(),
            rng.random::<u64>(),
            rng.random::<u32>()
        );
        let at = self.onset - seconds(minutes_before_onset * 60.0);
        self.commits.push(Commit {
            commit: commit.clone(),
            author: "someone".to_owned(),
            at: at - TimeDelta::minutes(4),
            message: "adjust things".to_owned(),
            files: vec![FileChange { path, patch: text }],
        });
        self.deploys.push(Deploy {
            at,
            service: service.to_owned(),
            commit: commit.clone(),
            previous: None,
            version: format!("r{}", self.deploys.len() + 1),
        });
        commit
    }

    /// A series that changed.
    pub(crate) fn moved(
        &mut self,
        service: &str,
        metric: &str,
        before: f64,
        after: f64,
        lag_s: f64,
    ) {
        let spread = (0.05 * before.abs()).max(0.05);
        self.extra.push(MetricAnomaly {
            service: service.to_owned(),
            metric: metric.to_owned(),
            labels: BTreeMap::new(),
            before,
            spread,
            after,
            extreme: after,
            score: (after - before) / spread,
            first_breach_at: Some(self.onset + seconds(lag_s)),
        });
    }

    /// A log template; `before` and `after` are lines a minute.
    pub(crate) fn logs(&mut self, service: &str, level: &str, text: &str, before: f64, after: f64) {
        self.templates.push(LogTemplate {
            service: service.to_owned(),
            level: level.to_owned(),
            template: text.to_owned(),
            before_per_minute: before,
            after_per_minute: after,
            first_seen: self.onset + TimeDelta::seconds(2),
            sample: text.to_owned(),
            trace_ids: vec!["4bf92f3577b34da6a3ce929d0e0e4736".to_owned()],
        });
    }
}

/// A span of time in fractions of seconds.
pub(crate) fn seconds(seconds: f64) -> TimeDelta {
    #[expect(clippy::cast_possible_truncation, reason = "tests use small spans")]
    TimeDelta::milliseconds((seconds * 1_000.0) as i64)
}

/// Statistics of one edge in one state.
pub(crate) fn edge_stats(
    system: &System,
    from: usize,
    call: &(usize, f64, f64, f64),
    minutes: f64,
) -> EdgeStats {
    let (to, calls, extra, gap) = *call;
    let (ms, fails) = system.cost(to);
    EdgeStats {
        calls: count(system.arrivals(from) * calls * minutes),
        calls_per_request: calls,
        error_share: (fails + extra).min(1.0),
        p50_ms: ms + gap,
        p95_ms: (ms + gap) * 1.8,
        gap_p50_ms: (system.nodes[to].kind == ServiceKind::Service).then_some(gap + 0.4),
    }
}

/// Statistics of a node's operation in one state.
pub(crate) fn operation_stats(system: &System, at: usize, minutes: f64) -> OperationStats {
    let (ms, fails) = system.cost(at);
    let own = system.nodes[at].own_ms;
    OperationStats {
        calls: count(system.arrivals(at) * minutes),
        error_share: fails,
        p50_ms: ms,
        p95_ms: ms * 1.8,
        self_p50_ms: own,
        self_p95_ms: own * 1.8,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts in tests are small and positive"
)]
pub(crate) fn count(value: f64) -> u64 {
    value.max(0.0).round() as u64
}
