//! What the tools answer of a world.

use nightshift_domain::{
    AlertId, IncidentId,
    alert::{AlertStatus, Severity},
};
use nightshift_protocol::tools::{
    casebook::AlertView,
    codebase::{CommitSummary, Commits},
    telemetry::{
        EdgeDiff, EdgeSeen, OperationDiff, ServiceKind, ServiceSeen, Services, TraceEdgeDiff,
        Windows,
    },
};
use serde_json::json;

use crate::world::{AFTER_MIN, BEFORE_MIN, World, edge_stats, operation_stats, seconds};

pub(crate) fn alert(world: &World) -> AlertView {
    AlertView {
        alert: AlertId::generate(),
        incident: IncidentId::generate(),
        source: "generic".to_owned(),
        title: world.title.to_owned(),
        service: Some(world.before.nodes[world.alerted].name.clone()),
        severity: Severity::Critical,
        status: AlertStatus::Firing,
        fired_at: world.fired_at,
        details: json!({}),
    }
}

pub(crate) fn windows(world: &World) -> Windows {
    Windows {
        before_from: world.onset - seconds(BEFORE_MIN * 60.0),
        onset: world.onset,
        after_to: world.onset + seconds(AFTER_MIN * 60.0),
        onset_estimated: true,
    }
}

pub(crate) fn services(world: &World) -> Services {
    let nodes = &world.before.nodes;
    Services {
        services: nodes
            .iter()
            .map(|node| ServiceSeen {
                name: node.name.clone(),
                kind: node.kind,
                log_lines: 100,
                spans: 100,
                metrics: match node.kind {
                    ServiceKind::Service => vec![
                        "http_requests_total".to_owned(),
                        "db_pool_in_use".to_owned(),
                    ],
                    ServiceKind::Database | ServiceKind::External => Vec::new(),
                },
            })
            .collect(),
        edges: nodes
            .iter()
            .flat_map(|node| {
                node.calls.iter().map(|call| EdgeSeen {
                    from: node.name.clone(),
                    to: nodes[call.0].name.clone(),
                })
            })
            .collect(),
    }
}

pub(crate) fn traced(world: &World) -> TraceEdgeDiff {
    let nodes = &world.before.nodes;
    let mut edges = Vec::new();
    let mut operations = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        for (before, after) in node.calls.iter().zip(&world.after.nodes[at].calls) {
            edges.push(EdgeDiff {
                from: node.name.clone(),
                to: nodes[before.0].name.clone(),
                before: edge_stats(&world.before, at, before, BEFORE_MIN),
                after: edge_stats(&world.after, at, after, AFTER_MIN),
            });
        }
        if node.kind == ServiceKind::Service {
            operations.push(OperationDiff {
                service: node.name.clone(),
                operation: "POST /work".to_owned(),
                before: operation_stats(&world.before, at, BEFORE_MIN),
                after: operation_stats(&world.after, at, AFTER_MIN),
            });
        }
    }
    TraceEdgeDiff {
        windows: windows(world),
        edges,
        operations,
    }
}

pub(crate) fn summaries(world: &World) -> Commits {
    Commits {
        commits: world
            .commits
            .iter()
            .map(|commit| CommitSummary {
                commit: commit.commit.clone(),
                author: commit.author.clone(),
                at: commit.at,
                message: commit.message.clone(),
                paths: commit.files.iter().map(|file| file.path.clone()).collect(),
            })
            .collect(),
    }
}
