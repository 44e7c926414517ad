//! What services do themselves, before and after.

use std::collections::BTreeMap;

use nightshift_protocol::tools::telemetry::{OperationDiff, OperationStats, Windows};

use super::trace_tree::TraceTree;
use crate::{
    model::{Span, SpanKind},
    stats::{Sorted, number_u64, rounded, share},
};

/// Spans of one operation, each with its self time in microseconds.
type Spent<'a> = Vec<(&'a Span, u64)>;

/// Every operation that has server or internal spans, most changed self time first.
#[must_use]
pub fn compare(tree: &TraceTree<'_>, windows: &Windows) -> Vec<OperationDiff> {
    let mut seen: BTreeMap<(&str, &str), (Spent<'_>, Spent<'_>)> = BTreeMap::new();
    for (place, span) in tree
        .iter()
        .filter(|(_, span)| span.kind != SpanKind::Client)
    {
        if span.start < windows.before_from || span.start > windows.after_to {
            continue;
        }
        let (before, after) = seen.entry((&span.service, &span.operation)).or_default();
        let into = if span.start < windows.onset {
            before
        } else {
            after
        };
        into.push((span, tree.self_time_us(place)));
    }
    let mut operations: Vec<(f64, OperationDiff)> = seen
        .into_iter()
        .map(|((service, operation), (before, after))| {
            let diff = OperationDiff {
                service: service.to_owned(),
                operation: operation.to_owned(),
                before: stats(&before),
                after: stats(&after),
            };
            (change(&diff), diff)
        })
        .collect();
    operations.sort_by(|(a, left), (b, right)| {
        b.total_cmp(a)
            .then_with(|| (&left.service, &left.operation).cmp(&(&right.service, &right.operation)))
    });
    operations.into_iter().map(|(_, diff)| diff).collect()
}

fn stats(seen: &[(&Span, u64)]) -> OperationStats {
    let ms = |us: u64| number_u64(us) / 1000.0;
    let times = Sorted::of(seen.iter().map(|(span, _)| ms(span.duration_us)));
    let own = Sorted::of(seen.iter().map(|(_, own)| ms(*own)));
    let (Some(times), Some(own)) = (times, own) else {
        return OperationStats::default();
    };
    OperationStats {
        calls: u64::try_from(seen.len()).unwrap_or(u64::MAX),
        error_share: rounded(share(
            seen.iter().filter(|(span, _)| span.failed).count(),
            seen.len(),
        )),
        p50_ms: rounded(times.median()),
        p95_ms: rounded(times.quantile(0.95)),
        self_p50_ms: rounded(own.median()),
        self_p95_ms: rounded(own.quantile(0.95)),
    }
}

/// Doublings of self time, or the change of the error share on the same scale as edges have.
fn change(diff: &OperationDiff) -> f64 {
    let (was, is) = (&diff.before, &diff.after);
    let calls = |stats: &OperationStats| number_u64(stats.calls);
    if was.calls == 0 || is.calls == 0 {
        return (calls(was).max(calls(is)) / 8.0).min(1.0) * 2.0;
    }
    let doublings = |was: f64, is: f64| ((is + 1.0) / (was + 1.0)).log2().abs();
    let largest = doublings(was.self_p50_ms, is.self_p50_ms)
        .max(doublings(was.self_p95_ms, is.self_p95_ms))
        .max((is.error_share - was.error_share).abs() * 4.0);
    (calls(was).min(calls(is)) / 8.0).min(1.0) * largest
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::{super::trace_tree::tests::span, *};

    #[test]
    fn the_service_that_burns_the_time_comes_before_the_one_that_waits_for_it() {
        let mut spans = Vec::new();
        for n in 0..40 {
            let slow = if n < 20 { 10 } else { 90 };
            let (trace, start) = (format!("t{n}"), n * 1000);
            spans.push(span(
                (&trace, "1", ""),
                ("web", "GET /"),
                SpanKind::Server,
                (start, slow + 10),
            ));
            spans.push(span(
                (&trace, "2", "1"),
                ("web", "call"),
                SpanKind::Client,
                (start + 5, slow),
            ));
            spans.push(span(
                (&trace, "3", "2"),
                ("cart", "sum"),
                SpanKind::Server,
                (start + 5, slow),
            ));
        }
        let at = |ms| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms);
        let windows = Windows {
            before_from: at(0),
            onset: at(20_000),
            after_to: at(40_000),
            onset_estimated: false,
        };
        let operations = compare(&TraceTree::of(spans.iter()), &windows);

        assert_eq!(
            operations.len(),
            2,
            "a client span is no operation of its own"
        );
        assert_eq!(operations[0].service, "cart");
        assert!((operations[0].after.self_p50_ms - 90.0).abs() < 1e-9);
        assert_eq!(operations[1].service, "web");
        assert!((operations[1].after.p50_ms - 100.0).abs() < 1e-9);
        assert!((operations[1].after.self_p50_ms - 10.0).abs() < 1e-9);
        assert_eq!(
            (operations[1].before.calls, operations[1].after.calls),
            (20, 20)
        );
    }
}
