//! Counters, gauges and histograms in Prometheus' text form, written and read.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, PoisonError},
};

/// Upper bounds of the duration histograms, in seconds.
pub const BOUNDS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0,
];

/// Label names and values in the order in which they are written.
pub type Labels = Vec<(String, String)>;

/// One value of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The series' name.
    pub metric: String,
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// The metrics of one process.
#[derive(Debug, Default)]
pub struct Metrics {
    values: Mutex<BTreeMap<(String, Labels), f64>>,
}

impl Metrics {
    /// Adds to a counter.
    pub fn count(&self, metric: &str, labels: &[(&str, &str)], by: f64) {
        self.change(metric, labels, |value| *value += by);
    }

    /// Sets a gauge.
    pub fn set(&self, metric: &str, labels: &[(&str, &str)], to: f64) {
        self.change(metric, labels, |value| *value = to);
    }

    /// Adds to a gauge, or takes away.
    pub fn add(&self, metric: &str, labels: &[(&str, &str)], by: f64) {
        self.count(metric, labels, by);
    }

    /// Puts a duration in a histogram: `_bucket`, `_sum` and `_count`.
    pub fn observe(&self, metric: &str, labels: &[(&str, &str)], seconds: f64) {
        let bucket = format!("{metric}_bucket");
        for bound in BOUNDS {
            let le = bound.to_string();
            let mut labels = labels.to_vec();
            labels.push(("le", &le));
            self.count(&bucket, &labels, if seconds <= bound { 1.0 } else { 0.0 });
        }
        let mut all = labels.to_vec();
        all.push(("le", "+Inf"));
        self.count(&bucket, &all, 1.0);
        self.count(&format!("{metric}_sum"), labels, seconds);
        self.count(&format!("{metric}_count"), labels, 1.0);
    }

    /// Everything, as `/metrics` answers it.
    #[must_use]
    pub fn render(&self) -> String {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for ((metric, labels), value) in values.iter() {
            let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", labels.join(","))
            };
            let _infallible = writeln!(text, "{metric}{labels} {value}");
        }
        text
    }

    fn change(&self, metric: &str, labels: &[(&str, &str)], change: impl FnOnce(&mut f64)) {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        change(values.entry((metric.to_owned(), labels)).or_insert(0.0));
    }
}

/// Reads what [`Metrics::render`] or another exporter wrote; comments and lines that do not parse are left out.
#[must_use]
pub fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((metric, labels)) = series.split_once('{') else {
        return Some(Sample {
            metric: series.to_owned(),
            labels: Vec::new(),
            value,
        });
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        labels.push((name.to_owned(), value.to_owned()));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some(Sample {
        metric: metric.to_owned(),
        labels,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::{Metrics, parse};

    #[test]
    fn what_we_render_parses_to_the_same_values() {
        let metrics = Metrics::default();
        metrics.count(
            "requests_total",
            &[("route", "/products/{id}"), ("status", "200")],
            3.0,
        );
        metrics.set("in_flight", &[], 2.0);

        let samples = parse(&metrics.render());

        assert_eq!(samples.len(), 2);
        assert_eq!(
            (samples[0].metric.as_str(), samples[0].value),
            ("in_flight", 2.0)
        );
        assert_eq!(
            samples[1].labels[0],
            ("route".to_owned(), "/products/{id}".to_owned())
        );
        assert!((samples[1].value - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_histogram_counts_an_observation_in_each_bucket_that_holds_it() {
        let metrics = Metrics::default();
        metrics.observe("took_seconds", &[], 0.3);

        let samples = parse(&metrics.render());
        let bucket = |le: &str| {
            let is = |s: &&super::Sample| s.labels.first().is_some_and(|(_, v)| v == le);
            samples.iter().find(is).map(|s| s.value)
        };

        assert_eq!(bucket("0.2"), Some(0.0));
        assert_eq!(bucket("0.35"), Some(1.0));
        assert_eq!(bucket("+Inf"), Some(1.0));
        assert!(
            samples
                .iter()
                .any(|s| s.metric == "took_seconds_sum" && s.value > 0.29)
        );
    }

    #[test]
    fn comments_and_broken_lines_are_left_out() {
        assert_eq!(parse("# HELP x y\nx{a=\"b\n\nx 1\n").len(), 1);
    }
}
