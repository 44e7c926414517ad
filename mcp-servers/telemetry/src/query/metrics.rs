//! `query_metrics`: series as people look at them.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::tools::telemetry::{MetricSeries, QueryMetricsArgs, Series};

use super::known_service;
use crate::{
    backend::Backend,
    model::{Interval, RawSeries},
    question::{Answered, Unanswerable, ask, calculate, closest},
    series::{Derived, Grid, derive},
    stats::rounded,
};

/// Series in one answer.
const MOST_SERIES: usize = 20;

/// Points of a series in one answer.
const MOST_POINTS: i32 = 240;

/// Read before the range begins, so that its first step has a rate.
pub(super) const LEAD: TimeDelta = TimeDelta::minutes(2);

/// Answers `query_metrics`.
pub async fn answer(
    backend: &dyn Backend,
    fired_at: DateTime<Utc>,
    args: QueryMetricsArgs,
) -> Result<Answered<MetricSeries>, Unanswerable> {
    let asked = ask(backend, args.range, fired_at)?;
    let range = asked.bounds();
    let raw = backend
        .metrics(Interval {
            from: range.from - LEAD,
            to: range.to,
        })
        .await?;
    let topology = backend.topology(asked.interval).await?;
    calculate(move || {
        let services = raw.iter().map(|series| &*series.key.service);
        known_service(args.service.as_deref(), &topology, services)?;
        select(&raw, range, &args)
    })
    .await?
}

fn select(
    raw: &[RawSeries],
    range: Interval,
    args: &QueryMetricsArgs,
) -> Result<Answered<MetricSeries>, Unanswerable> {
    let length = range.length();
    let usual = length / 60;
    let step = args
        .step_seconds
        .map_or(usual, |seconds| TimeDelta::seconds(i64::from(seconds)));
    let finest = (length / MOST_POINTS).max(TimeDelta::seconds(1));
    let mut truncated = args.step_seconds.is_some() && step < finest;
    let grid = Grid::new(range, step.max(finest));

    let of_service: Vec<RawSeries> = raw
        .iter()
        .filter(|series| {
            args.service
                .as_deref()
                .is_none_or(|name| *series.key.service == *name)
        })
        .cloned()
        .collect();
    let mut derived = derive(&of_service, &grid);
    if let Some(sought) = &args.metric {
        // Quantiles have lost the ending of the buckets that they come from.
        let sought = sought.strip_suffix("_bucket").unwrap_or(sought);
        let names: BTreeSet<String> = derived.iter().map(|series| series.metric.clone()).collect();
        derived.retain(|series| series.metric.contains(sought));
        if derived.is_empty() {
            return Err(Unanswerable::Unknown {
                what: "metric",
                asked: sought.to_owned(),
                close: closest(sought, names.iter().map(String::as_str)),
            });
        }
        // Who names a metric in full wants that one first.
        derived.sort_by_key(|series| series.metric.split(':').next() != Some(sought));
    }
    truncated |= derived.len() > MOST_SERIES;
    let answer = MetricSeries {
        matched: u64::try_from(derived.len()).unwrap_or(u64::MAX),
        series: derived.into_iter().take(MOST_SERIES).map(shown).collect(),
    };
    Ok(Answered { answer, truncated })
}

fn shown(series: Derived) -> Series {
    Series {
        service: series.service.to_string(),
        metric: series.metric,
        labels: series.labels,
        points: series
            .points
            .into_iter()
            .map(|(at, value)| (at, rounded(value)))
            .collect(),
    }
}
