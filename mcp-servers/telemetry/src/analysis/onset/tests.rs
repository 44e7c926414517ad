//! Onsets that are known because these tests made them.

use super::*;
use crate::{analysis::trace_tree::tests::span, model::SpanKind};

const MINUTE: i64 = 60_000;
const FIRED: i64 = 30 * MINUTE;

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms)
}

/// Five requests a second for 35 minutes in a fixed, patternless order of durations.
fn visits(of: impl Fn(i64, i64) -> (u64, bool)) -> Vec<Span> {
    (0..35 * 60 * 5)
        .map(|n| {
            let start = n * 200;
            let (ms, failed) = of(start, (n * 7919) % 101);
            let trace = format!("t{n}");
            let operation = if n % 4 == 0 { "GET /buy" } else { "GET /list" };
            let mut root = span(
                (&trace, "1", ""),
                ("web", operation),
                SpanKind::Server,
                (start, ms),
            );
            root.failed = failed;
            root
        })
        .collect()
}

fn estimated(spans: &[Span], lines: &[LogRecord]) -> i64 {
    let range = Interval {
        from: at(0),
        to: at(35 * MINUTE),
    };
    let mut batch = Batch::empty();
    batch.add(&std::sync::Arc::new(spans.to_vec()), range);
    let searched = searched(range, at(FIRED));
    let onset = noticed(&requests(&batch), lines.iter(), searched).unwrap_or(assumed(searched));
    (onset - at(0)).num_seconds()
}

fn usual(noise: i64) -> u64 {
    20 + u64::try_from(noise).unwrap() / 5
}

#[track_caller]
fn assert_within(onset: i64, expected: i64, seconds: i64) {
    assert!(
        (onset - expected).abs() <= seconds,
        "{onset} s is not {expected} ± {seconds} s"
    );
}

#[test]
fn failing_requests_begin_when_they_begin() {
    let begins = 26 * MINUTE + 17_000;
    let spans = visits(|start, noise| (usual(noise), noise == 3 || start >= begins && noise < 30));
    assert_within(estimated(&spans, &[]), begins / 1000, 20);
}

#[test]
fn the_onset_is_not_before_the_first_failure() {
    let begins = 26 * MINUTE + 17_000;
    let spans = visits(|start, noise| (usual(noise) / 4 * 4, start >= begins && noise < 90));
    assert_within(estimated(&spans, &[]), begins / 1000, 1);
}

#[test]
fn one_slow_operation_among_many_is_enough() {
    let begins = 24 * MINUTE;
    let spans: Vec<Span> = visits(|_, noise| (usual(noise), false))
        .into_iter()
        .map(|mut root| {
            if root.operation.as_ref() == "GET /buy" && root.start >= at(begins) {
                root.duration_us *= 4;
            }
            root
        })
        .collect();
    assert_within(estimated(&spans, &[]), begins / 1000, 20);
}

#[test]
fn a_slow_start_is_found_while_it_is_still_small() {
    // Latency grows from minute 20 on by a tenth of the usual each minute.
    let spans = visits(|start, noise| {
        let late = u64::try_from((start - 20 * MINUTE).max(0)).unwrap();
        (usual(noise) + 40 * late / 600_000, false)
    });
    let onset = estimated(&spans, &[]);
    assert!((20 * 60..=24 * 60).contains(&onset), "{onset}");
}

#[test]
fn error_lines_alone_are_enough() {
    let line = |seconds: i64| LogRecord {
        at: at(seconds * 1000),
        service: "web".into(),
        level: Level::Error,
        message: "boom".into(),
        trace_id: None,
        span_id: None,
        fields: serde_json::Map::new(),
    };
    let mut lines: Vec<LogRecord> = (0..30).map(|n| line(n * 61)).collect();
    lines.extend((25 * 60..30 * 60).map(line));
    lines.sort_by_key(|line| line.at);
    assert_within(estimated(&[], &lines), 25 * 60, 15);
}

#[test]
fn an_earlier_incident_that_is_over_is_not_this_one() {
    let begins = 27 * MINUTE;
    let spans = visits(|start, noise| {
        let earlier = (14 * MINUTE..15 * MINUTE).contains(&start);
        (usual(noise), (earlier || start >= begins) && noise < 40)
    });
    assert_within(estimated(&spans, &[]), begins / 1000, 20);
}

#[test]
fn without_any_sign_the_alert_is_taken_to_have_been_five_minutes_late() {
    let spans = visits(|_, noise| (usual(noise), noise == 3));
    assert_eq!(estimated(&spans, &[]), 25 * 60);
}

#[test]
fn metrics_show_the_onset_when_enough_of_them_leave_their_band() {
    let searched = Interval {
        from: at(0),
        to: at(FIRED),
    };
    let grid = metric_grid(searched);
    let series: Vec<Derived> = (0..40_u32)
        .map(|n| Derived {
            service: "web".into(),
            metric: format!("m{n}"),
            labels: std::collections::BTreeMap::new(),
            quantity: crate::series::Quantity::Gauge { whole: false },
            points: (0..grid.len())
                .map(|step| {
                    let noise = f64::from((n * 31 + u32::try_from(step).unwrap() * 7919) % 101);
                    let shifted = n < 6 && step >= 50;
                    (
                        grid.time(step),
                        100.0 + noise / 10.0 + if shifted { 90.0 } else { 0.0 },
                    )
                })
                .collect(),
        })
        .collect();
    assert_eq!(measured(&series, &grid), Some(grid.time(50)));
    assert_eq!(measured(&series[6..], &grid), None);
}

#[test]
fn what_happens_after_the_alert_does_not_move_the_onset() {
    let spans = visits(|start, noise| (usual(noise), start > FIRED + MINUTE && noise < 90));
    assert!(estimated(&spans, &[]) <= FIRED / 1000);
}
