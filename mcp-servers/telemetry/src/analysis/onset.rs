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
                .map(|signal| signal.scores[step])
                .fold(0.0, f64::max)
        })
        .collect();
    let step = run_up_to_the_end(&surprise)?;
    // Within the step the first bad thing that happened, so that a deploy in the same step that
    // set it off comes before it.
    let surprising = signals
        .iter()
        .filter(|signal| signal.scores[step] > ALLOWANCE);
    let first = surprising
        .filter_map(|signal| signal.first_in(step, &grid))
        .min();
    Some(first.unwrap_or_else(|| grid.time(step)))
}

/// One sign of trouble: how surprising each step is, and when each bad thing happened.
struct Signal {
    scores: Vec<f64>,
    bad: Vec<DateTime<Utc>>,
}

impl Signal {
    fn first_in(&self, step: usize, grid: &Grid) -> Option<DateTime<Utc>> {
        self.bad
            .iter()
            .copied()
            .filter(|at| grid.index(*at) == Some(step))
            .min()
    }
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

fn failed_requests(requests: &[&Span], grid: &Grid) -> Signal {
    let mut counts = vec![(0, 0); grid.len()];
    for request in requests {
        if let Some(step) = grid.index(request.start) {
            counts[step].0 += u64::from(request.failed);
            counts[step].1 += 1;
        }
    }
    let failed = requests.iter().filter(|request| request.failed);
    Signal {
        scores: share_scores(&counts, usual_steps(grid)),
        bad: failed.map(|request| request.start).collect(),
    }
}

/// A request is slow when it takes longer than 95 % of the usual ones of its operation, and by more
/// than a fifth.
fn slow_requests(requests: &[&Span], grid: &Grid) -> Signal {
    let usual = usual_steps(grid);
    let mut operations: HashMap<(&str, &str), Vec<(usize, &Span)>> = HashMap::new();
    for request in requests {
        if let Some(step) = grid.index(request.start) {
            let operation = operations
                .entry((&request.service, &request.operation))
                .or_default();
            operation.push((step, request));
        }
    }
    let mut counts = vec![(0, 0); grid.len()];
    let mut bad = Vec::new();
    for requests in operations.values() {
        let known = requests
            .iter()
            .filter(|(step, _)| *step < usual)
            .map(|(_, request)| number_u64(request.duration_us));
        let Some(known) = Sorted::of(known) else {
            continue;
        };
        let slow = known.quantile(0.95).max(1.2 * known.median());
        for (step, request) in requests {
            counts[*step].1 += 1;
            if number_u64(request.duration_us) > slow {
                counts[*step].0 += 1;
                bad.push(request.start);
            }
        }
    }
    Signal {
        scores: share_scores(&counts, usual),
        bad,
    }
}

fn error_lines<'a>(lines: impl Iterator<Item = &'a LogRecord>, grid: &Grid) -> Signal {
    let mut counts = vec![0.0; grid.len()];
    let mut bad = Vec::new();
    for line in lines.filter(|line| line.level == Level::Error) {
        if let Some(step) = grid.index(line.at) {
            counts[step] += 1.0;
            bad.push(line.at);
        }
    }
    let known = &counts[..usual_steps(grid).min(counts.len())];
    let mean = known.iter().sum::<f64>() / number(known.len().max(1));
    let variance =
        known.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / number(known.len().max(1));
    // Errors come in bursts: what they were seen to vary counts, and at least pure chance.
    let deviation = (variance.max(mean) + 1.0).sqrt();
    Signal {
        scores: counts
            .iter()
            .map(|count| (count - mean) / deviation)
            .collect(),
        bad,
    }
}

#[cfg(test)]
mod tests;
