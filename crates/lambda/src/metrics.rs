//! The few numbers that somebody is woken for, as `CloudWatch` embedded metric format: JSON lines on
//! standard output that `CloudWatch` turns into metrics. Specification:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use nightshift_engine::Clock;
use serde_json::{Map, Value, json};

/// Values of one metric in one line, at most (the format's own limit).
const MOST_VALUES: usize = 100;
/// Where `CloudWatch` shows them.
const NAMESPACE: &str = "Nightshift";

/// What is measured. Each has an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// From accepted alert to granted sandbox, in milliseconds.
    ClaimWait,
    /// Sandboxes that are ready in a pool.
    PoolReady,
    /// How long a step had been due when it was handed to its queue, in milliseconds.
    OutboxLag,
    /// How long a step was in its queue before it was carried out, in milliseconds.
    StepAge,
    /// Steps that wait for a person.
    DeadLetters,
}

impl Metric {
    const fn name(self) -> &'static str {
        match self {
            Self::ClaimWait => "ClaimWait",
            Self::PoolReady => "PoolReady",
            Self::OutboxLag => "OutboxLag",
            Self::StepAge => "StepAge",
            Self::DeadLetters => "DeadLetters",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::ClaimWait | Self::OutboxLag | Self::StepAge => "Milliseconds",
            Self::PoolReady | Self::DeadLetters => "Count",
        }
    }
}

/// Writes metrics.
#[derive(Clone)]
pub struct Metrics {
    function: Arc<str>,
    clock: Arc<dyn Clock>,
    out: Arc<Mutex<dyn Write + Send>>,
}

impl Metrics {
    /// Writes to standard output, which Lambda hands to `CloudWatch`, as `function`.
    #[must_use]
    pub fn of(function: &str, clock: Arc<dyn Clock>) -> Self {
        Self::to(function, clock, Arc::new(Mutex::new(io::stdout())))
    }

    /// Writes to `out`.
    #[must_use]
    pub fn to(function: &str, clock: Arc<dyn Clock>, out: Arc<Mutex<dyn Write + Send>>) -> Self {
        Self {
            function: function.into(),
            clock,
            out,
        }
    }

    /// Notes values of a metric: of this function, and apart by `by`, a name and a value such as the
    /// step or the pool. Nothing is written where there are none.
    pub fn put(&self, metric: Metric, by: (&str, &str), values: &[f64]) {
        let now = self.clock.now();
        let mut lines = String::new();
        for values in values.chunks(MOST_VALUES) {
            let line = line(now, &self.function, metric, by, values);
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // One write, so that lines of two tasks do not mix. A number that is lost is no reason to fail.
        let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
    }
}

fn line(
    now: DateTime<Utc>,
    function: &str,
    metric: Metric,
    (by, which): (&str, &str),
    values: &[f64],
) -> Value {
    let directive = json!({
        "Namespace": NAMESPACE,
        "Dimensions": [["function"], ["function", by]],
        "Metrics": [{"Name": metric.name(), "Unit": metric.unit()}],
    });
    let mut members = Map::new();
    let about = json!({"Timestamp": now.timestamp_millis(), "CloudWatchMetrics": [directive]});
    members.insert("_aws".to_owned(), about);
    members.insert("function".to_owned(), json!(function));
    members.insert(by.to_owned(), json!(which));
    let value = match values {
        [one] => json!(one),
        several => json!(several),
    };
    members.insert(metric.name().to_owned(), value);
    Value::Object(members)
}

/// A span of time in milliseconds; one that runs backwards, because clocks differ, counts as none.
#[must_use]
pub fn milliseconds(span: chrono::TimeDelta) -> f64 {
    span.to_std()
        .map_or(0.0, |span| span.as_secs_f64() * 1_000.0)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("function", &self.function)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
