//! Which span caused which.

use std::collections::HashMap;

use crate::model::{Span, SpanKind};

/// Spans with their parents and children, by place.
#[derive(Debug)]
pub struct TraceTree<'a> {
    spans: Vec<&'a Span>,
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
}

impl<'a> TraceTree<'a> {
    /// Links spans by trace and parent. A span whose parent is not among them counts as a root.
    #[must_use]
    pub fn of(spans: impl Iterator<Item = &'a Span>) -> Self {
        let spans: Vec<&Span> = spans.collect();
        let places: HashMap<(&str, &str), usize> = spans
            .iter()
            .enumerate()
            .map(|(place, span)| ((span.trace_id.as_ref(), span.span_id.as_ref()), place))
            .collect();
        let parents: Vec<Option<usize>> = spans
            .iter()
            .enumerate()
            .map(|(place, span)| {
                let parent = span.parent_id.as_deref()?;
                places
                    .get(&(span.trace_id.as_ref(), parent))
                    .copied()
                    .filter(|it| *it != place)
            })
            .collect();
        let mut children = vec![Vec::new(); spans.len()];
        for (place, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent {
                children[*parent].push(place);
            }
        }
        Self {
            spans,
            parents,
            children,
        }
    }

    /// The spans, each with its place.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &'a Span)> {
        self.spans.iter().copied().enumerate()
    }

    /// The span at a place.
    #[must_use]
    pub fn span(&self, place: usize) -> &'a Span {
        self.spans[place]
    }

    /// The span that caused the one at a place.
    #[must_use]
    pub fn parent(&self, place: usize) -> Option<usize> {
        self.parents[place]
    }

    /// The spans that the one at a place caused, in order of their start.
    #[must_use]
    pub fn children(&self, place: usize) -> &[usize] {
        &self.children[place]
    }

    /// Spans that nothing among these caused.
    pub fn roots(&self) -> impl Iterator<Item = usize> {
        self.parents
            .iter()
            .enumerate()
            .filter(|(_, it)| it.is_none())
            .map(|(place, _)| place)
    }

    /// The server span of the same service that a span worked for, or the outermost span of that
    /// service where it wrote no server span.
    #[must_use]
    pub fn enclosing_request(&self, place: usize) -> usize {
        let service = &self.spans[place].service;
        let mut outermost = place;
        // A malformed trace may run in circles; no honest one is this deep.
        for _ in 0..64 {
            let Some(parent) = self.parents[outermost] else {
                break;
            };
            if self.spans[parent].service != *service {
                break;
            }
            outermost = parent;
            if self.spans[parent].kind == SpanKind::Server {
                break;
            }
        }
        outermost
    }

    /// Microseconds of a span that none of its direct children covers.
    #[must_use]
    pub fn self_time_us(&self, place: usize) -> u64 {
        let span = self.spans[place];
        let reach = |child: &usize| {
            let child = self.spans[*child];
            let from = (child.start - span.start)
                .num_microseconds()
                .unwrap_or(0)
                .max(0);
            let from = u64::try_from(from).unwrap_or(0).min(span.duration_us);
            (from, (from + child.duration_us).min(span.duration_us))
        };
        let mut covered: Vec<(u64, u64)> = self.children[place].iter().map(reach).collect();
        covered.sort_unstable();
        let (mut total, mut reached) = (0, 0);
        for (from, to) in covered {
            total += to.saturating_sub(from.max(reached));
            reached = reached.max(to);
        }
        span.duration_us.saturating_sub(total)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    /// A span of trace `trace` that starts at `start_ms` and takes `ms`.
    pub(crate) fn span(
        (trace, id, parent): (&str, &str, &str),
        (service, operation): (&str, &str),
        kind: SpanKind,
        (start_ms, ms): (i64, u64),
    ) -> Span {
        Span {
            trace_id: trace.into(),
            span_id: id.into(),
            parent_id: (!parent.is_empty()).then(|| parent.into()),
            service: service.into(),
            operation: operation.into(),
            kind,
            peer: None,
            start: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(start_ms),
            duration_us: ms * 1000,
            failed: false,
            attributes: serde_json::Map::new(),
        }
    }

    #[test]
    fn self_time_leaves_out_the_union_of_the_children() {
        let spans = [
            span(("t", "1", ""), ("a", "op"), SpanKind::Server, (0, 100)),
            span(("t", "2", "1"), ("a", "x"), SpanKind::Client, (10, 30)),
            span(("t", "3", "1"), ("a", "y"), SpanKind::Client, (20, 30)),
            // Goes on after its parent has answered: only what lies inside counts.
            span(("t", "4", "1"), ("a", "z"), SpanKind::Client, (90, 50)),
        ];
        let tree = TraceTree::of(spans.iter());
        assert_eq!(tree.self_time_us(0), 50_000);
        assert_eq!(tree.self_time_us(1), 30_000);
    }

    #[test]
    fn a_call_belongs_to_the_nearest_server_span_of_its_service() {
        let spans = [
            span(("t", "1", ""), ("a", "outer"), SpanKind::Server, (0, 100)),
            span(("t", "2", "1"), ("b", "handle"), SpanKind::Server, (1, 90)),
            span(("t", "3", "2"), ("b", "inner"), SpanKind::Internal, (2, 80)),
            span(("t", "4", "3"), ("b", "call"), SpanKind::Client, (3, 70)),
            span(("u", "4", "3"), ("b", "call"), SpanKind::Client, (3, 70)),
        ];
        let tree = TraceTree::of(spans.iter());
        assert_eq!(tree.enclosing_request(3), 1);
        assert_eq!(
            tree.enclosing_request(4),
            4,
            "spans of another trace are no parents"
        );
        assert_eq!(tree.roots().collect::<Vec<_>>(), [0, 4]);
    }

    #[test]
    fn a_trace_that_runs_in_circles_ends() {
        let spans = [
            span(("t", "1", "2"), ("a", "x"), SpanKind::Internal, (0, 1)),
            span(("t", "2", "1"), ("a", "y"), SpanKind::Internal, (0, 1)),
        ];
        let tree = TraceTree::of(spans.iter());
        assert!(tree.enclosing_request(0) < 2);
    }
}
