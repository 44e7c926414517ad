//! Turns raw series into derived ones on a common grid.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{counter::Readings, grid::Grid, histogram};
use crate::{model::RawSeries, stats::number};

/// What the values of a derived series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// The mean of a gauge in each step.
    Gauge {
        /// Whether every raw value is a whole number.
        whole: bool,
    },
    /// Growth of a counter per second.
    Rate,
    /// A quantile of a histogram's observations in each step.
    Quantile,
}

/// One series as people look at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// Which service.
    pub service: Arc<str>,
    /// Which metric; a rate ends in `:rate`, quantiles in `:p50` and `:p95`.
    pub metric: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What its values are.
    pub quantity: Quantity,
    /// One point for each step that has data, oldest first.
    pub points: Vec<(DateTime<Utc>, f64)>,
}

/// What a metric's name says of its values.
enum Sort<'a> {
    Gauge,
    Counter,
    Bucket { of: &'a str },
}

fn sort(metric: &str) -> Sort<'_> {
    if let Some(of) = metric.strip_suffix("_bucket") {
        Sort::Bucket { of }
    } else if ["_total", "_count", "_sum"]
        .iter()
        .any(|end| metric.ends_with(end))
    {
        Sort::Counter
    } else {
        Sort::Gauge
    }
}

/// Every series on the grid, in order of service, metric and labels.
#[must_use]
pub fn derive(raw: &[RawSeries], grid: &Grid) -> Vec<Derived> {
    let mut readings: HashMap<&str, Vec<DateTime<Utc>>> = HashMap::new();
    for series in raw {
        let times = readings.entry(&series.key.service).or_default();
        times.extend(series.samples.iter().map(|sample| sample.at));
    }
    let readings: HashMap<&str, Readings> = readings
        .into_iter()
        .map(|(service, times)| (service, Readings::of(times)))
        .collect();

    let mut derived = Vec::new();
    let mut histograms: BTreeMap<HistogramKey<'_>, Histogram> = BTreeMap::new();
    for series in raw {
        let key = &series.key;
        match sort(&key.metric) {
            Sort::Gauge => derived.push(gauge(series, grid)),
            Sort::Counter => derived.push(rate(series, &readings[key.service.as_ref()], grid)),
            Sort::Bucket { of } => {
                let bound = key.labels.get("le").and_then(|le| histogram::bound(le));
                let Some(bound) = bound else { continue };
                let labels = key.labels.iter().filter(|(name, _)| *name != "le");
                let labels = labels
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect();
                let place = HistogramKey {
                    service: &key.service,
                    of,
                    labels,
                };
                let growth = readings[key.service.as_ref()].growth(&series.samples);
                let per_step = per_step(growth.iter().map(|one| (one.at, one.by)), grid);
                histograms.entry(place).or_default().push((bound, per_step));
            }
        }
    }
    for (key, mut buckets) in histograms {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (q, ending) in [(0.5, "p50"), (0.95, "p95")] {
            derived.push(Derived {
                service: Arc::clone(key.service),
                metric: format!("{}:{ending}", key.of),
                labels: key
                    .labels
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
                quantity: Quantity::Quantile,
                points: quantiles(&buckets, q, grid),
            });
        }
    }
    derived.retain(|series| !series.points.is_empty());
    derived.sort_by(|a, b| {
        (&a.service, &a.metric, &a.labels).cmp(&(&b.service, &b.metric, &b.labels))
    });
    derived
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct HistogramKey<'a> {
    service: &'a Arc<str>,
    of: &'a str,
    labels: Vec<(&'a str, &'a str)>,
}

/// For each bound what its cumulative count grew by in each step.
type Histogram = Vec<(f64, Vec<f64>)>;

fn gauge(series: &RawSeries, grid: &Grid) -> Derived {
    let mut sums = vec![(0.0, 0_usize); grid.len()];
    for sample in &series.samples {
        if let Some((sum, count)) = grid.index(sample.at).and_then(|index| sums.get_mut(index)) {
            *sum += sample.value;
            *count += 1;
        }
    }
    let whole = series
        .samples
        .iter()
        .all(|sample| sample.value.fract() == 0.0);
    let filled = sums
        .into_iter()
        .enumerate()
        .filter(|(_, (_, count))| *count > 0);
    Derived {
        service: Arc::clone(&series.key.service),
        metric: series.key.metric.to_string(),
        labels: series.key.labels.clone(),
        quantity: Quantity::Gauge { whole },
        points: filled
            .map(|(i, (sum, count))| (grid.time(i), sum / number(count)))
            .collect(),
    }
}

fn rate(series: &RawSeries, readings: &Readings, grid: &Grid) -> Derived {
    let growth = readings.growth(&series.samples);
    let grown = per_step(growth.iter().map(|one| (one.at, one.by)), grid);
    let seconds = per_step(growth.iter().map(|one| (one.at, one.seconds)), grid);
    let both = grown.into_iter().zip(seconds).enumerate();
    Derived {
        service: Arc::clone(&series.key.service),
        metric: format!("{}:rate", series.key.metric),
        labels: series.key.labels.clone(),
        quantity: Quantity::Rate,
        points: both
            .filter(|(_, (_, seconds))| *seconds > 0.0)
            .map(|(i, (by, seconds))| (grid.time(i), by / seconds))
            .collect(),
    }
}

fn per_step(amounts: impl Iterator<Item = (DateTime<Utc>, f64)>, grid: &Grid) -> Vec<f64> {
    let mut sums = vec![0.0; grid.len()];
    for (at, amount) in amounts {
        if let Some(sum) = grid.index(at).and_then(|index| sums.get_mut(index)) {
            *sum += amount;
        }
    }
    sums
}

fn quantiles(buckets: &Histogram, q: f64, grid: &Grid) -> Vec<(DateTime<Utc>, f64)> {
    let in_step = |step: usize| -> Vec<histogram::Bucket> {
        buckets
            .iter()
            .map(|(bound, grown)| (*bound, grown[step]))
            .collect()
    };
    (0..grid.len())
        .filter_map(|step| Some((grid.time(step), histogram::quantile(&in_step(step), q)?)))
        .collect()
}
