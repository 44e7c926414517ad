//! How figures are shown: tables of 80 columns as they come, and one JSON object at the end.

use nightshift_terminal::{Paint, Percentiles, Style, Table, answer};
use serde_json::{Value, json};

/// Where figures go.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Shows a table under its title.
    pub(crate) fn table(title: &str, table: &Table) {
        let paint = Paint::for_stdout();
        answer(&paint.paint(Style::Heading, title));
        answer(table.show(paint).trim_end());
        answer("");
    }

    /// Shows one line.
    pub(crate) fn line(text: &str) {
        answer(text);
    }

    /// Ends with the object, where it was asked for.
    pub(crate) fn end(&self, figures: &Value) {
        if self.json {
            answer(&figures.to_string());
        }
    }
}

/// Tells what goes on, on stderr.
pub(crate) fn say(text: &str) {
    nightshift_terminal::say("bench", text);
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies(pub(crate) Vec<f64>);

impl Latencies {
    /// The usual four; all zero without any measurement.
    pub(crate) fn percentiles(&self) -> Percentiles {
        Percentiles::of(&self.0).unwrap_or(Percentiles {
            p50: 0.0,
            p90: 0.0,
            p99: 0.0,
            max: 0.0,
        })
    }

    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn json(&self) -> Value {
        rounded(&self.percentiles())
    }

    /// p50, p90, p99 and the slowest, as cells.
    pub(crate) fn cells(&self) -> [String; 4] {
        let found = self.percentiles();
        [found.p50, found.p90, found.p99, found.max].map(ms)
    }

    /// A row: a name, how many there are, and their percentiles.
    pub(crate) fn named(&self, name: &str) -> [String; 6] {
        let [p50, p90, p99, max] = self.cells();
        [
            name.to_owned(),
            self.count().to_string(),
            p50,
            p90,
            p99,
            max,
        ]
    }
}

/// Percentiles with two decimals.
pub(crate) fn rounded(found: &Percentiles) -> Value {
    json!({
        "p50": round(found.p50), "p90": round(found.p90),
        "p99": round(found.p99), "max": round(found.max),
    })
}

/// Milliseconds as a cell.
pub(crate) fn ms(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// Two decimals.
pub(crate) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// A rate as a cell.
pub(crate) fn rate(value: f64) -> String {
    format!("{value:.0}")
}

/// How many there were in a second.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are small"
)]
pub(crate) fn per_second(count: usize, took: std::time::Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

/// Milliseconds of a duration.
pub(crate) fn millis(took: std::time::Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}
