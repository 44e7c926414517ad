//! When users began to notice: estimated from root spans and error logs, or from metrics where those
//! show nothing; never later than the alert.
//!
//! Each step of time is compared with the first part of the range: how many root requests failed,
//! how many were slower than is usual for their operation, how many error lines were written. The
//! onset is where the longest run of surprising steps that reaches up to the alert begins (a
//! one-sided cumulative sum of clipped scores, so that one odd step cannot decide).

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{anomalies::usual_spread, trace_tree::TraceTree};
use crate::{
    model::{Batch, Interval, Level, LogRecord, Span},
    series::{Derived, Grid},
    stats::{Sorted, number, number_u64},
};

/// The share of the range that tells what is usual.
const USUAL_SHARE: f64 = 0.4;

/// Scores above this many standard deviations say no more.
const CLIP: f64 = 5.0;

/// What a step must exceed to count as surprising.
const ALLOWANCE: f64 = 1.0;

/// What the sum of a run must reach; pure chance gets there about once in a million ranges.
const CONVINCING: f64 = 8.0;

/// A series is out of its band this many spreads from its median.
const METRIC_BAND: f64 = 3.0;

/// Without any sign at all we assume that the alert took this long to fire.
const USUAL_DELAY: TimeDelta = TimeDelta::minutes(5);

/// Where the onset is looked for: from the beginning of the range to the alert.
#[must_use]
pub fn searched(range: Interval, fired_at: DateTime<Utc>) -> Interval {
    let to = if range.contains(fired_at) {
        fired_at
    } else {
        range.to
    };
    Interval {
        from: range.from,
        to,
    }
}

/// What users asked for: spans without a parent, or where every span has one, those whose parent
/// is not among them.
#[must_use]
pub fn requests(spans: &Batch<Span>) -> Vec<&Span> {
    let roots: Vec<&Span> = spans
        .iter()
        .filter(|span| span.parent_id.is_none())
        .collect();
    if !roots.is_empty() {
        return roots;
    }
    let tree = TraceTree::of(spans.iter());
    tree.roots().map(|root| tree.span(root)).collect()
}

/// The onset as users noticed it; `None` where root spans and error logs show nothing.
#[must_use]
pub fn noticed<'a>(
    requests: &[&Span],
    lines: impl Iterator<Item = &'a LogRecord>,
    searched: Interval,
) -> Option<DateTime<Utc>> {
    // Some 180 steps: 10 s in half an hour.
    let grid = Grid::new(
        searched,
        (searched.length() / 180).max(TimeDelta::seconds(5)),
    );
    let signals = [
        failed_requests(requests, &grid),
        slow_requests(requests, &grid),
        error_lines(lines, &grid),
    ];
    let surprise: Vec<f64> = (0..grid.len())
        .map(|step| {
            signals
                .iter()
                .map(|signal| signal[step])
                .fold(0.0, f64::max)
        })
        .collect();
    run_up_to_the_end(&surprise).map(|step| grid.time(step))
}

/// The steps on which [`measured`] wants its series.
#[must_use]
pub fn metric_grid(searched: Interval) -> Grid {
    Grid::new(
        searched,
        (searched.length() / 60).max(TimeDelta::seconds(10)),
    )
}

/// The onset as metrics show it: unusually many series out of their usual band.
#[must_use]
pub fn measured(series: &[Derived], grid: &Grid) -> Option<DateTime<Utc>> {
    let usual = usual_steps(grid);
    let mut counts = vec![(0, 0); grid.len()];
    for one in series {
        let distances = distances_from_usual(one, usual, grid);
        for (step, distance) in distances {
            counts[step].0 += u64::from(distance >= METRIC_BAND);
            counts[step].1 += 1;
        }
    }
    let surprise = share_scores(&counts, usual);
    // Steps without any reading are no news: they go on as the step before.
    let filled: Vec<f64> = surprise
        .iter()
        .zip(&counts)
        .scan(0.0, |last, (score, (_, all))| {
            if *all > 0 {
                *last = *score;
            }
            Some(*last)
        })
        .collect();
    run_up_to_the_end(&filled).map(|step| grid.time(step))
}

/// What is assumed where nothing shows an onset.
#[must_use]
pub fn assumed(searched: Interval) -> DateTime<Utc> {
    (searched.to - USUAL_DELAY).max(searched.from + searched.length() / 2)
}

fn distances_from_usual(series: &Derived, usual: usize, grid: &Grid) -> Vec<(usize, f64)> {
    let steps: Vec<(usize, f64)> = series
        .points
        .iter()
        .filter_map(|(at, value)| Some((grid.index(*at)?, *value)))
        .collect();
    let known = Sorted::of(
        steps
            .iter()
            .filter(|(step, _)| *step < usual)
            .map(|(_, value)| *value),
    );
    let Some(known) = known else {
        return Vec::new();
    };
    let spread = usual_spread(&known, series.quantity, grid.step().as_seconds_f64());
    let median = known.median();
    steps
        .into_iter()
        .map(|(step, value)| (step, (value - median).abs() / spread))
        .collect()
}

/// Where the run with the largest sum that ends with the last step begins.
fn run_up_to_the_end(surprise: &[f64]) -> Option<usize> {
    let (mut sum, mut best, mut begins) = (0.0, 0.0, None);
    for (step, score) in surprise.iter().enumerate().rev() {
        sum += score.min(CLIP) - ALLOWANCE;
        if sum > best {
            (best, begins) = (sum, Some(step));
        }
    }
    begins.filter(|_| best >= CONVINCING)
}

fn usual_steps(grid: &Grid) -> usize {
    (1..=grid.len())
        .take_while(|step| number(*step) <= USUAL_SHARE * number(grid.len()))
        .count()
        .max(1)
}

/// Scores of a share: `hits` of `all` in each step against the share in the usual steps.
fn share_scores(counts: &[(u64, u64)], usual: usize) -> Vec<f64> {
    let (hits, all) = counts[..usual.min(counts.len())]
        .iter()
        .fold((0, 0), |(hits, all), one| (hits + one.0, all + one.1));
    // Half a hit of doubt: a share of nothing at all is never known to be nothing.
    let share = (number_u64(hits) + 0.5) / (number_u64(all) + 1.0);
    counts
        .iter()
        .map(|&(hits, all)| {
            let all = number_u64(all);
            (number_u64(hits) - all * share) / (all * share * (1.0 - share) + 1.0).sqrt()
        })
        .collect()
}

fn failed_requests(requests: &[&Span], grid: &Grid) -> Vec<f64> {
    let mut counts = vec![(0, 0); grid.len()];
    for request in requests {
        if let Some(step) = grid.index(request.start) {
            counts[step].0 += u64::from(request.failed);
            counts[step].1 += 1;
        }
    }
    share_scores(&counts, usual_steps(grid))
}

/// A request is slow when it takes longer than 95 % of the usual ones of its operation, and by more
/// than a fifth.
fn slow_requests(requests: &[&Span], grid: &Grid) -> Vec<f64> {
    let usual = usual_steps(grid);
    let mut operations: HashMap<(&str, &str), Vec<(usize, f64)>> = HashMap::new();
    for request in requests {
        if let Some(step) = grid.index(request.start) {
            let operation = operations
                .entry((&request.service, &request.operation))
                .or_default();
            operation.push((step, number_u64(request.duration_us)));
        }
    }
    let mut counts = vec![(0, 0); grid.len()];
    for times in operations.values() {
        let known = times
            .iter()
            .filter(|(step, _)| *step < usual)
            .map(|(_, time)| *time);
        let Some(known) = Sorted::of(known) else {
            continue;
        };
        let slow = known.quantile(0.95).max(1.2 * known.median());
        for (step, time) in times {
            counts[*step].0 += u64::from(*time > slow);
            counts[*step].1 += 1;
        }
    }
    share_scores(&counts, usual)
}

fn error_lines<'a>(lines: impl Iterator<Item = &'a LogRecord>, grid: &Grid) -> Vec<f64> {
    let mut counts = vec![0.0; grid.len()];
    for line in lines.filter(|line| line.level == Level::Error) {
        if let Some(step) = grid.index(line.at) {
            counts[step] += 1.0;
        }
    }
    let known = &counts[..usual_steps(grid).min(counts.len())];
    let mean = known.iter().sum::<f64>() / number(known.len().max(1));
    let variance =
        known.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / number(known.len().max(1));
    // Errors come in bursts: what they were seen to vary counts, and at least pure chance.
    let deviation = (variance.max(mean) + 1.0).sqrt();
    counts
        .iter()
        .map(|count| (count - mean) / deviation)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::trace_tree::tests::span, *};
    use crate::model::SpanKind;

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
        let spans =
            visits(|start, noise| (usual(noise), noise == 3 || start >= begins && noise < 30));
        assert_within(estimated(&spans, &[]), begins / 1000, 20);
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
}
