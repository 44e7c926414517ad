//! A recording: what the observability of a system would have answered for the minutes around an alert. See
//! `docs/recording-format.md`.

mod files;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::files::{RecordingError, read_plain_lines, write_json};

/// What a recording says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub format: u32,
    /// The directory's name.
    pub name: String,
    /// The symptom in a few words.
    pub title: String,
    /// Which system it is.
    pub system: String,
    /// Start of the window.
    pub starts_at: DateTime<Utc>,
    /// When the alert fired.
    pub alert_at: DateTime<Utc>,
    /// End of the window.
    pub ends_at: DateTime<Utc>,
    /// Which share of what is kept; everything else is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<Sampled>,
}

/// Head-based sampling by trace.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Share of traces whose spans are kept, all of them.
    pub spans: f64,
    /// Share of requests whose info lines are kept; warnings and errors are complete.
    pub info_logs: f64,
}

/// The alert that fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The symptom.
    pub title: String,
    /// Where it shows.
    pub service: String,
    /// How bad.
    pub severity: String,
    /// When the rule had been true for long enough.
    pub fired_at: DateTime<Utc>,
    /// The rule's name.
    pub monitor: String,
    /// What it watches.
    pub metric: String,
    /// Its limit.
    pub threshold: f64,
    /// What it saw.
    pub observed: f64,
    /// A sentence for a person.
    pub summary: String,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub service: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// What.
    pub message: String,
    /// In which trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// In which span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// More about it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// A value of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRow {
    /// When it was scraped.
    pub at: DateTime<Utc>,
    /// Whose.
    pub service: String,
    /// Which metric.
    pub metric: String,
    /// `key=value;key=value` or nothing.
    pub labels: String,
    /// How much.
    pub value: f64,
}

/// A span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Its trace.
    pub trace_id: String,
    /// Itself.
    pub span_id: String,
    /// What caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// Who did it.
    pub service: String,
    /// What it did.
    pub operation: String,
    /// `server`, `client` or `internal`.
    pub kind: String,
    /// Whom a client called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// When it began.
    pub start: DateTime<Utc>,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// `ok` or `error`.
    pub status: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
}

/// Who calls whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Everything that is called or calls.
    pub services: Vec<Node>,
    /// The calls.
    pub edges: Vec<Edge>,
}

/// Something that is called or calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `service`, `database` or `external`.
    pub kind: String,
}

/// One calls the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The caller.
    pub from: String,
    /// The called.
    pub to: String,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its full hash.
    pub commit: String,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What its author says about it.
    pub message: String,
    /// What it changes.
    pub files: Vec<FilePatch>,
}

/// What a commit changes in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePatch {
    /// Which file.
    pub path: String,
    /// A unified diff.
    pub patch: String,
}

/// The repository at a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Which commit.
    pub commit: String,
    /// Text by path.
    pub files: BTreeMap<String, String>,
}

/// A release of a service that reached production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// When it took over.
    pub at: DateTime<Utc>,
    /// Which service.
    pub service: String,
    /// What runs now.
    pub commit: String,
    /// What ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The release's name.
    pub version: String,
}

/// A feature flag that was switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagFlip {
    /// When.
    pub at: DateTime<Utc>,
    /// Which flag.
    pub flag: String,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What it was.
    pub from: Value,
    /// What it is now.
    pub to: Value,
    /// Who switched it.
    pub by: String,
}

/// A whole recording.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each field is the file of its name")]
pub struct Recording {
    pub manifest: Manifest,
    pub alert: Alert,
    pub logs: Vec<LogLine>,
    pub metrics: Vec<MetricRow>,
    pub spans: Vec<Span>,
    pub topology: Topology,
    pub commits: Vec<Commit>,
    pub files: Files,
    pub deploys: Vec<Deploy>,
    pub flags: Vec<FlagFlip>,
}
