//! A trace as rows: parents before children, identical siblings in one row.

use nightshift_protocol::tools::telemetry::TraceSpan;
use serde_json::{Map, Value};

use crate::{
    analysis::trace_tree::TraceTree,
    model::{Span, SpanKind},
    stats::{number_u64, rounded},
};

/// Rows that are shown of one trace.
const MOST_ROWS: usize = 60;

/// Characters of an attribute's text that are shown.
const ATTRIBUTE_CHARS: usize = 300;

/// The rows, and whether some were left out.
///
/// Siblings are identical when service, operation, side and peer are; their children are folded
/// together in turn, so that fifty queries, each with its server span, take two rows.
#[must_use]
pub fn fold(tree: &TraceTree<'_>) -> (Vec<TraceSpan>, bool) {
    let mut rows = Vec::new();
    let mut waiting: Vec<(u32, Vec<usize>)> = Vec::new();
    push_groups(tree, &tree.roots().collect::<Vec<_>>(), 0, &mut waiting);
    while let Some((depth, group)) = waiting.pop() {
        if rows.len() == MOST_ROWS {
            return (rows, true);
        }
        rows.push(row(tree, depth, &group));
        let children: Vec<usize> = group
            .iter()
            .flat_map(|place| tree.children(*place))
            .copied()
            .collect();
        push_groups(tree, &children, depth + 1, &mut waiting);
    }
    (rows, false)
}

/// Puts the groups of these siblings on the stack, so that the earliest comes off first.
fn push_groups(
    tree: &TraceTree<'_>,
    siblings: &[usize],
    depth: u32,
    waiting: &mut Vec<(u32, Vec<usize>)>,
) {
    let mut siblings = siblings.to_vec();
    siblings.sort_by_key(|place| tree.span(*place).start);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for place in siblings {
        let likeness = likeness(tree.span(place));
        match groups
            .iter_mut()
            .find(|group| self::likeness(tree.span(group[0])) == likeness)
        {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    waiting.extend(groups.into_iter().rev().map(|group| (depth, group)));
}

fn likeness(span: &Span) -> (&str, &str, SpanKind, Option<&str>) {
    (
        &span.service,
        &span.operation,
        span.kind,
        span.peer.as_deref(),
    )
}

fn row(tree: &TraceTree<'_>, depth: u32, group: &[usize]) -> TraceSpan {
    let first = tree.span(group[0]);
    let total_us: u64 = group
        .iter()
        .map(|place| tree.span(*place).duration_us)
        .sum();
    let failed = group
        .iter()
        .filter(|place| tree.span(**place).failed)
        .count();
    TraceSpan {
        depth,
        service: first.service.to_string(),
        operation: first.operation.to_string(),
        peer: first.peer.as_deref().map(str::to_owned),
        count: u32::try_from(group.len()).unwrap_or(u32::MAX),
        duration_ms: rounded(number_u64(total_us) / 1000.0),
        errors: u32::try_from(failed).unwrap_or(u32::MAX),
        attributes: shortened(&first.attributes),
    }
}

fn shortened(attributes: &Map<String, Value>) -> Map<String, Value> {
    let short = |value: &Value| match value {
        Value::String(text) if text.len() > ATTRIBUTE_CHARS => {
            Value::String(text.chars().take(ATTRIBUTE_CHARS).collect())
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_)) => other.clone(),
    };
    attributes
        .iter()
        .map(|(name, value)| (name.clone(), short(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::super::analysis::trace_tree::tests::span, *};

    #[test]
    fn fifty_queries_with_their_server_spans_take_two_rows() {
        let mut spans = vec![span(
            ("t", "r", ""),
            ("web", "GET /"),
            SpanKind::Server,
            (0, 500),
        )];
        for n in 0..50_i64 {
            let (client, server) = (format!("c{n}"), format!("s{n}"));
            spans.push(span(
                ("t", &client, "r"),
                ("web", "query"),
                SpanKind::Client,
                (n, 4),
            ));
            let mut run = span(
                ("t", &server, &client),
                ("db", "run"),
                SpanKind::Server,
                (n, 3),
            );
            run.failed = n == 7;
            spans.push(run);
        }
        spans.push(span(
            ("t", "x", "r"),
            ("web", "render"),
            SpanKind::Internal,
            (400, 20),
        ));

        let (rows, cut) = fold(&TraceTree::of(spans.iter()));

        assert!(!cut);
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (row.depth, row.operation.as_str(), row.count, row.errors))
            .collect();
        assert_eq!(
            shown,
            [
                (0, "GET /", 1, 0),
                (1, "query", 50, 0),
                (2, "run", 50, 1),
                (1, "render", 1, 0)
            ]
        );
        assert!((rows[1].duration_ms - 200.0).abs() < 1e-9);
    }

    #[test]
    fn a_trace_of_too_many_different_spans_is_cut_and_says_so() {
        let spans: Vec<Span> = (0..100)
            .map(|n: i64| {
                let id = n.to_string();
                span(
                    ("t", &id, ""),
                    ("web", &format!("op{n}")),
                    SpanKind::Internal,
                    (n, 1),
                )
            })
            .collect();
        let (rows, cut) = fold(&TraceTree::of(spans.iter()));
        assert!(cut);
        assert_eq!(rows.len(), MOST_ROWS);
        assert_eq!(rows[0].operation, "op0");
    }
}
