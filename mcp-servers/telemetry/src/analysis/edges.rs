//! Calls from one service to another, before and after.

use std::collections::{BTreeMap, HashSet};

use nightshift_protocol::tools::telemetry::{EdgeDiff, EdgeStats, Windows};

use super::trace_tree::TraceTree;
use crate::{
    analysis::before_and_after,
    model::{Interval, Span, SpanKind},
    stats::{Sorted, number, rounded, share},
};

/// Calls that a window must hold before its quantiles weigh fully.
const ENOUGH_CALLS: f64 = 8.0;

/// One call as its caller saw it.
#[derive(Debug)]
struct Call<'a> {
    span: &'a Span,
    /// The caller's request that it was made for.
    request: usize,
    /// The caller's time minus the callee's, in microseconds.
    gap_us: Option<u64>,
}

/// Every edge that was called, most changed first.
#[must_use]
pub fn compare(tree: &TraceTree<'_>, windows: &Windows) -> Vec<EdgeDiff> {
    let (before, after) = before_and_after(windows);
    let mut calls: BTreeMap<(&str, &str), Vec<Call<'_>>> = BTreeMap::new();
    for (place, span) in tree.iter() {
        if let Some((edge, call)) = call(tree, place, span) {
            calls.entry(edge).or_default().push(call);
        }
    }
    let mut edges: Vec<(f64, EdgeDiff)> = calls
        .into_iter()
        .map(|((from, to), calls)| {
            let diff = EdgeDiff {
                from: from.to_owned(),
                to: to.to_owned(),
                before: stats(&calls, |call| {
                    before.contains(call.span.start) && call.span.start < windows.onset
                }),
                after: stats(&calls, |call| after.contains(call.span.start)),
            };
            (change(&diff, &before, &after), diff)
        })
        .filter(|(_, diff)| diff.before.calls + diff.after.calls > 0)
        .collect();
    edges.sort_by(|(a, left), (b, right)| {
        b.total_cmp(a)
            .then_with(|| (&left.from, &left.to).cmp(&(&right.from, &right.to)))
    });
    edges.into_iter().map(|(_, diff)| diff).collect()
}

/// A client span, or the first span of a service whose caller wrote no client span.
fn call<'a>(
    tree: &TraceTree<'a>,
    place: usize,
    span: &'a Span,
) -> Option<((&'a str, &'a str), Call<'a>)> {
    if span.kind == SpanKind::Client {
        let callee = tree
            .children(place)
            .iter()
            .map(|child| tree.span(*child))
            .find(|child| child.service != span.service && child.kind == SpanKind::Server);
        let to = span
            .peer
            .as_deref()
            .or_else(|| callee.map(|callee| callee.service.as_ref()))?;
        let gap_us = callee.map(|callee| span.duration_us.saturating_sub(callee.duration_us));
        let request = tree.enclosing_request(place);
        return Some((
            (&span.service, to),
            Call {
                span,
                request,
                gap_us,
            },
        ));
    }
    let parent = tree.parent(place)?;
    let caller = tree.span(parent);
    let told_by_caller = caller.kind == SpanKind::Client;
    (caller.service != span.service && !told_by_caller).then(|| {
        let request = tree.enclosing_request(parent);
        (
            (caller.service.as_ref(), span.service.as_ref()),
            Call {
                span,
                request,
                gap_us: None,
            },
        )
    })
}

fn stats(calls: &[Call<'_>], belongs: impl Fn(&Call<'_>) -> bool) -> EdgeStats {
    let calls: Vec<&Call<'_>> = calls.iter().filter(|call| belongs(call)).collect();
    let ms = |us: u64| crate::stats::number_u64(us) / 1000.0;
    let Some(times) = Sorted::of(calls.iter().map(|call| ms(call.span.duration_us))) else {
        return EdgeStats::default();
    };
    let requests: HashSet<usize> = calls.iter().map(|call| call.request).collect();
    let gaps = Sorted::of(calls.iter().filter_map(|call| call.gap_us).map(ms));
    EdgeStats {
        calls: u64::try_from(calls.len()).unwrap_or(u64::MAX),
        calls_per_request: rounded(number(calls.len()) / number(requests.len().max(1))),
        error_share: rounded(share(
            calls.iter().filter(|c| c.span.failed).count(),
            calls.len(),
        )),
        p50_ms: rounded(times.median()),
        p95_ms: rounded(times.quantile(0.95)),
        gap_p50_ms: gaps.map(|gaps| rounded(gaps.median())),
    }
}

/// How much an edge changed, in doublings: the largest of its changes, never their sum, because
/// changes of different kinds do not add up.
fn change(edge: &EdgeDiff, before: &Interval, after: &Interval) -> f64 {
    let (was, is) = (&edge.before, &edge.after);
    let calls = |stats: &EdgeStats| crate::stats::number_u64(stats.calls);
    let doublings = |was: f64, is: f64| (is / was).log2().abs();
    if was.calls == 0 || is.calls == 0 {
        // A call that is new, or not made any more.
        return (calls(was).max(calls(is)) / ENOUGH_CALLS).min(1.0) * 3.0;
    }
    let weight = (calls(was).min(calls(is)) / ENOUGH_CALLS).min(1.0);
    let rate = |stats: &EdgeStats, window: &Interval| {
        calls(stats) / window.length().as_seconds_f64().max(1.0)
    };
    let kinds = [
        (is.error_share - was.error_share).abs() * 8.0,
        // A millisecond more or less is nothing that anybody pages for.
        doublings(was.p95_ms + 1.0, is.p95_ms + 1.0),
        doublings(was.p50_ms + 1.0, is.p50_ms + 1.0),
        doublings(was.calls_per_request, is.calls_per_request) * 1.5,
        doublings(rate(was, before), rate(is, after)) * 0.5,
    ];
    weight * kinds.into_iter().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::{super::trace_tree::tests::span, *};

    fn windows() -> Windows {
        let at = |ms| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms);
        Windows {
            before_from: at(0),
            onset: at(100_000),
            after_to: at(200_000),
            onset_estimated: false,
        }
    }

    /// One request of `web` that calls `db` so many times, each call taking `ms`, of which the
    /// database itself spends 5; and calls `mail`, outside, once.
    fn request(number: i64, calls: usize, ms: u64, mail_fails: bool) -> Vec<Span> {
        let trace = format!("t{number}");
        let start = number * 1000;
        let mut spans = vec![span(
            (&trace, "root", ""),
            ("web", "GET /"),
            SpanKind::Server,
            (start, 500),
        )];
        for call in 0..calls {
            let (client, server) = (format!("c{call}"), format!("s{call}"));
            let begin = start + 1 + i64::try_from(call).unwrap();
            let mut query = span(
                (&trace, &client, "root"),
                ("web", "select"),
                SpanKind::Client,
                (begin, ms),
            );
            query.peer = Some("db".into());
            spans.push(query);
            spans.push(span(
                (&trace, &server, &client),
                ("db", "run"),
                SpanKind::Server,
                (begin, 5),
            ));
        }
        let mut mail = span(
            (&trace, "m", "root"),
            ("web", "send"),
            SpanKind::Client,
            (start, 20),
        );
        mail.peer = Some("mail".into());
        mail.failed = mail_fails;
        spans.push(mail);
        spans
    }

    fn edges(spans: &[Span]) -> Vec<EdgeDiff> {
        compare(&TraceTree::of(spans.iter()), &windows())
    }

    #[test]
    fn a_query_in_a_loop_shows_as_fan_out_and_not_as_latency() {
        let spans: Vec<Span> = (0..200)
            .flat_map(|n| request(n, if n < 100 { 1 } else { 12 }, 8, false))
            .collect();
        let edges = edges(&spans);

        assert_eq!(
            (edges[0].from.as_str(), edges[0].to.as_str()),
            ("web", "db")
        );
        assert!((edges[0].before.calls_per_request - 1.0).abs() < 1e-9);
        assert!((edges[0].after.calls_per_request - 12.0).abs() < 1e-9);
        assert!((edges[0].after.p95_ms - edges[0].before.p95_ms).abs() < 1e-9);
        assert_eq!((edges[0].before.calls, edges[0].after.calls), (100, 1200));
    }

    #[test]
    fn time_that_is_lost_between_two_services_shows_as_their_gap() {
        let spans: Vec<Span> = (0..200)
            .flat_map(|n| request(n, 1, if n < 100 { 8 } else { 80 }, false))
            .collect();
        let edge = &edges(&spans)[0];

        assert_eq!(edge.to, "db");
        assert_eq!(
            (edge.before.gap_p50_ms, edge.after.gap_p50_ms),
            (Some(3.0), Some(75.0))
        );
    }

    #[test]
    fn an_outside_system_that_fails_comes_first_and_has_no_gap() {
        let spans: Vec<Span> = (0..200)
            .flat_map(|n| request(n, 1, 8, n >= 100 && n % 2 == 0))
            .collect();
        let edge = &edges(&spans)[0];

        assert_eq!((edge.to.as_str(), edge.after.gap_p50_ms), ("mail", None));
        assert!(edge.before.error_share.abs() < 1e-9);
        assert!((edge.after.error_share - 0.5).abs() < 1e-9);
    }

    #[test]
    fn two_slow_calls_do_not_outrank_a_thousand() {
        let mut spans: Vec<Span> = (0..200)
            .flat_map(|n| request(n, 3, if n < 100 { 8 } else { 40 }, false))
            .collect();
        for (n, ms) in [(10, 1), (150, 900)] {
            let mut rare = span(
                ("r", &n.to_string(), ""),
                ("web", "x"),
                SpanKind::Client,
                (n * 1000, ms),
            );
            rare.peer = Some("archive".into());
            spans.push(rare);
        }
        assert_eq!(edges(&spans)[0].to, "db");
    }

    #[test]
    fn a_caller_without_client_spans_still_has_edges() {
        let spans = [
            span(
                ("t", "1", ""),
                ("web", "GET /"),
                SpanKind::Server,
                (1000, 50),
            ),
            span(
                ("t", "2", "1"),
                ("cart", "list"),
                SpanKind::Server,
                (1001, 40),
            ),
        ];
        let edges = edges(&spans);
        assert_eq!(
            (edges[0].from.as_str(), edges[0].to.as_str()),
            ("web", "cart")
        );
        assert_eq!((edges[0].before.calls, edges[0].after.calls), (1, 0));
    }
}
