//! The alert rule: a quantile or a share over the last minute, above its limit for long enough.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use crate::telemetry::metrics::Sample;

/// What a rule watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The 95th percentile of `http_request_duration_seconds`, in seconds.
    P95,
    /// The share of `http_requests_total` with a status of 500 or above.
    ErrorShare,
}

/// A rule about one route of one service.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name.
    pub monitor: &'static str,
    /// Which service.
    pub service: &'static str,
    /// Which route.
    pub route: &'static str,
    /// What of it.
    pub watch: Watch,
    /// The limit.
    pub threshold: f64,
}

/// A rule at work.
#[derive(Debug)]
pub struct Evaluation {
    rule: Rule,
    window: TimeDelta,
    hold: TimeDelta,
    last: BTreeMap<String, f64>,
    growth: VecDeque<(DateTime<Utc>, BTreeMap<String, f64>)>,
    above_since: Option<DateTime<Utc>>,
}

impl Evaluation {
    /// Looks at the last `window` and fires when the value was above the limit for `hold`.
    #[must_use]
    pub fn new(rule: Rule, window: TimeDelta, hold: TimeDelta) -> Self {
        Self {
            rule,
            window,
            hold,
            last: BTreeMap::new(),
            growth: VecDeque::new(),
            above_since: None,
        }
    }

    /// Takes a scrape of the rule's service in; returns the value if the alert fires.
    pub fn scraped(&mut self, now: DateTime<Utc>, samples: &[Sample]) -> Option<f64> {
        let mut growth = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for sample in samples {
            let Some(key) = self.key(sample) else {
                continue;
            };
            *seen.entry(key).or_insert(0.0) += sample.value;
        }
        for (key, value) in &seen {
            // A counter that fell belongs to a process that started anew.
            let before = self
                .last
                .get(key)
                .filter(|before| *before <= value)
                .unwrap_or(&0.0);
            growth.insert(key.clone(), value - before);
        }
        if !self.last.is_empty() {
            self.growth.push_back((now, growth));
        }
        self.last = seen;
        while self
            .growth
            .front()
            .is_some_and(|(at, _)| now - *at >= self.window)
        {
            self.growth.pop_front();
        }
        let value = self.value()?;
        if value <= self.rule.threshold {
            self.above_since = None;
            return None;
        }
        let since = *self.above_since.get_or_insert(now);
        (now - since >= self.hold).then_some(value)
    }

    /// The value over the window; `None` without requests.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for (key, by) in self.growth.iter().flat_map(|(_, growth)| growth) {
            *sums.entry(key).or_insert(0.0) += by;
        }
        match self.rule.watch {
            Watch::P95 => quantile(&sums, 0.95),
            Watch::ErrorShare => {
                let all: f64 = sums.values().sum();
                let bad: f64 = sums
                    .iter()
                    .filter(|(status, _)| status.starts_with('5'))
                    .map(|(_, n)| n)
                    .sum();
                (all > 0.0).then(|| bad / all)
            }
        }
    }

    fn key(&self, sample: &Sample) -> Option<String> {
        let label = |name: &str| {
            sample
                .labels
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        if label("route") != Some(self.rule.route) {
            return None;
        }
        let (metric, key) = match self.rule.watch {
            Watch::P95 => ("http_request_duration_seconds_bucket", "le"),
            Watch::ErrorShare => ("http_requests_total", "status"),
        };
        (sample.metric == metric)
            .then(|| label(key).map(str::to_owned))
            .flatten()
    }
}

/// Within the bucket that holds the quantile we suppose an even spread, as Prometheus does.
fn quantile(buckets: &BTreeMap<&str, f64>, quantile: f64) -> Option<f64> {
    let mut bounds: Vec<(f64, f64)> = buckets
        .iter()
        .filter_map(|(le, count)| Some((le.replace("+Inf", "inf").parse().ok()?, *count)))
        .collect();
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = bounds
        .last()
        .map(|(_, count)| *count)
        .filter(|all| *all > 0.0)?;
    let rank = quantile * all;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in bounds {
        if count >= rank {
            let share = if count > below {
                (rank - below) / (count - below)
            } else {
                1.0
            };
            return Some(if bound.is_infinite() {
                lower
            } else {
                lower + (bound - lower) * share
            });
        }
        (lower, below) = (bound, count);
    }
    None
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Evaluation, Rule, Watch};
    use crate::telemetry::metrics::{Metrics, parse};

    const RULE: Rule = Rule {
        monitor: "m",
        service: "checkout",
        route: "/orders",
        watch: Watch::ErrorShare,
        threshold: 0.1,
    };

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + second, 0).expect("a time")
    }

    fn evaluation(watch: Watch) -> Evaluation {
        let rule = Rule { watch, ..RULE };
        Evaluation::new(rule, TimeDelta::seconds(60), TimeDelta::seconds(30))
    }

    fn answer(metrics: &Metrics, status: &str, times: f64) {
        let labels = [("route", "/orders"), ("status", status)];
        metrics.count("http_requests_total", &labels, times);
    }

    #[test]
    fn an_alert_fires_only_when_the_share_stays_above_its_limit() {
        let (metrics, mut rule) = (Metrics::default(), evaluation(Watch::ErrorShare));
        answer(&metrics, "200", 1.0);
        assert_eq!(rule.scraped(at(0), &parse(&metrics.render())), None);
        let mut fired = Vec::new();
        for second in (10..=60).step_by(10) {
            answer(&metrics, "200", 5.0);
            answer(&metrics, "502", 5.0);
            fired.push(
                rule.scraped(at(second), &parse(&metrics.render()))
                    .is_some(),
            );
        }
        assert_eq!(fired, [false, false, false, true, true, true]);
    }

    #[test]
    fn another_route_does_not_count() {
        let (metrics, mut rule) = (Metrics::default(), evaluation(Watch::ErrorShare));
        for second in (0..100).step_by(10) {
            answer(&metrics, "200", 5.0);
            let labels = [("route", "/else"), ("status", "502")];
            metrics.count("http_requests_total", &labels, 50.0);
            assert_eq!(rule.scraped(at(second), &parse(&metrics.render())), None);
        }
    }

    #[test]
    fn a_restart_does_not_look_like_requests_that_were_taken_back() {
        let (before, after) = (Metrics::default(), Metrics::default());
        let mut rule = evaluation(Watch::ErrorShare);
        answer(&before, "200", 1000.0);
        rule.scraped(at(0), &parse(&before.render()));
        answer(&after, "200", 3.0);
        answer(&after, "502", 1.0);
        rule.scraped(at(10), &parse(&after.render()));
        assert_eq!(rule.value(), Some(0.25));
    }

    #[test]
    fn the_quantile_lies_in_the_bucket_that_holds_it() {
        let (metrics, mut rule) = (Metrics::default(), evaluation(Watch::P95));
        let labels = [("route", "/orders")];
        metrics.observe("http_request_duration_seconds", &labels, 0.02);
        rule.scraped(at(0), &parse(&metrics.render()));
        for _ in 0..100 {
            metrics.observe("http_request_duration_seconds", &labels, 0.3);
        }
        rule.scraped(at(10), &parse(&metrics.render()));
        let value = rule.value().expect("requests were seen");
        assert!((0.2..=0.35).contains(&value), "{value}");
    }
}
