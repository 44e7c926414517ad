//! Telemetry as a backend hands it over: log lines, samples, spans and who calls whom.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::tools::telemetry::{EdgeSeen, ServiceKind};
use serde_json::{Map, Value};

/// A stretch of time; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Where it begins.
    pub from: DateTime<Utc>,
    /// Where it ends.
    pub to: DateTime<Utc>,
}

impl Interval {
    /// How long it is.
    #[must_use]
    pub fn length(&self) -> TimeDelta {
        self.to - self.from
    }

    /// Whether the time lies in it.
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && at <= self.to
    }

    /// What it has in common with another one.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Option<Self> {
        let both = Self {
            from: self.from.max(other.from),
            to: self.to.min(other.to),
        };
        (both.from <= both.to).then_some(both)
    }

    /// The same, longer by `margin` at both ends.
    #[must_use]
    pub fn widened(&self, margin: TimeDelta) -> Self {
        Self {
            from: self.from - margin,
            to: self.to + margin,
        }
    }
}

/// Something that happened at a time.
pub trait Timed {
    /// When it happened, or began.
    fn at(&self) -> DateTime<Utc>;
}

/// How serious a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For developers.
    Debug,
    /// Ordinary.
    Info,
    /// Unusual, got over.
    Warn,
    /// Failed.
    Error,
}

impl Level {
    /// Reads a spelling, whatever the case; other vocabularies are mapped to the nearest level.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "debug" | "trace" => Self::Debug,
            "info" | "notice" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "err" | "fatal" | "critical" => Self::Error,
            _ => return None,
        })
    }

    /// How answers spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One log line.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// When.
    pub at: DateTime<Utc>,
    /// Which service wrote it.
    pub service: Arc<str>,
    /// How serious it is.
    pub level: Level,
    /// What it says.
    pub message: Box<str>,
    /// The trace it belongs to.
    pub trace_id: Option<Box<str>>,
    /// The span it belongs to.
    pub span_id: Option<Box<str>>,
    /// Its other fields.
    pub fields: Map<String, Value>,
}

impl Timed for LogRecord {
    fn at(&self) -> DateTime<Utc> {
        self.at
    }
}

/// Which side of a call a span shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanKind {
    /// Work that someone else asked for.
    Server,
    /// A call to someone else.
    Client,
    /// Work inside the process.
    Internal,
}

/// One unit of work in a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The request it belongs to.
    pub trace_id: Box<str>,
    /// Its identity.
    pub span_id: Box<str>,
    /// The span that caused it.
    pub parent_id: Option<Box<str>>,
    /// Which service did it.
    pub service: Arc<str>,
    /// What it did.
    pub operation: Arc<str>,
    /// Which side of a call it shows.
    pub kind: SpanKind,
    /// Whom it called, for a client span.
    pub peer: Option<Arc<str>>,
    /// When it began.
    pub start: DateTime<Utc>,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Whether it failed.
    pub failed: bool,
    /// Its attributes.
    pub attributes: Map<String, Value>,
}

impl Timed for Span {
    fn at(&self) -> DateTime<Utc> {
        self.start
    }
}

/// What tells one series from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// Which service.
    pub service: Arc<str>,
    /// The metric's name, as its service exports it.
    pub metric: Arc<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// One value of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When it was read.
    pub at: DateTime<Utc>,
    /// The value.
    pub value: f64,
}

impl Timed for Sample {
    fn at(&self) -> DateTime<Utc> {
        self.at
    }
}

/// The samples of one series, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSeries {
    /// Which series.
    pub key: Arc<SeriesKey>,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// Who calls whom, as somebody wrote it down or a backend derived it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// What stands behind each name.
    pub services: BTreeMap<String, ServiceKind>,
    /// The calls.
    pub edges: Vec<EdgeSeen>,
}

/// Records in order of time, shared with whoever keeps them.
#[derive(Debug, Clone)]
pub struct Batch<T> {
    parts: Vec<(Arc<Vec<T>>, Range<usize>)>,
}

impl<T: Timed> Batch<T> {
    /// Nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self { parts: Vec::new() }
    }

    /// Takes from records in order of time those that lie in the interval.
    pub fn add(&mut self, records: &Arc<Vec<T>>, interval: Interval) {
        let from = records.partition_point(|record| record.at() < interval.from);
        let to = records.partition_point(|record| record.at() <= interval.to);
        if from < to {
            self.parts.push((Arc::clone(records), from..to));
        }
    }

    /// The records, part by part in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.parts
            .iter()
            .flat_map(|(records, range)| &records[range.clone()])
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|(_, range)| range.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}
