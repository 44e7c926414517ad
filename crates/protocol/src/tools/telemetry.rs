//! Tools of the telemetry server: raw queries, and differences between before and after.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TimeRange;

/// Arguments of `list_services`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListServicesArgs {
    /// Which time range to look at.
    #[serde(flatten)]
    pub range: TimeRange,
}

/// The services that were seen, and who calls whom.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Services {
    /// Services, databases and outside systems, by name.
    pub services: Vec<ServiceSeen>,
    /// Who calls whom.
    pub edges: Vec<EdgeSeen>,
}

/// What stands behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// One of our own services.
    Service,
    /// A database, cache or queue.
    Database,
    /// A system outside our control.
    External,
}

/// One service that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSeen {
    /// Its name in logs, metrics and traces.
    pub name: String,
    /// What stands behind the name.
    pub kind: ServiceKind,
    /// Log lines in the range.
    pub log_lines: u64,
    /// Spans in the range.
    pub spans: u64,
    /// Names of its metrics.
    pub metrics: Vec<String>,
}

/// One service calls another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct EdgeSeen {
    /// The caller.
    pub from: String,
    /// The callee.
    pub to: String,
}

/// Arguments of `query_logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueryLogsArgs {
    /// Which time range to look at.
    #[serde(flatten)]
    pub range: TimeRange,
    /// Only lines of this service.
    pub service: Option<String>,
    /// Only this level and worse: `debug`, `info`, `warn`, `error`.
    pub level: Option<String>,
    /// Only lines whose message or fields contain this text, whatever the case.
    pub contains: Option<String>,
    /// Only lines of this trace.
    pub trace_id: Option<String>,
    /// At most this many lines, newest first; 50 unless told, 200 at most.
    pub limit: Option<usize>,
}

/// Log lines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogLines {
    /// How many lines match in all.
    pub matched: u64,
    /// The newest of them.
    pub lines: Vec<LogLine>,
}

/// One log line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When.
    pub at: DateTime<Utc>,
    /// Which service wrote it.
    pub service: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// What it says.
    pub message: String,
    /// The trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The span it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// Its other fields.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// Arguments of `query_metrics`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueryMetricsArgs {
    /// Which time range to look at.
    #[serde(flatten)]
    pub range: TimeRange,
    /// Only metrics of this service.
    pub service: Option<String>,
    /// Only metrics whose name contains this text.
    pub metric: Option<String>,
    /// Seconds between points; the range divided by 60 unless told.
    pub step_seconds: Option<u32>,
}

/// Time series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricSeries {
    /// How many series match in all.
    pub matched: u64,
    /// The series, at most 20.
    pub series: Vec<Series>,
}

/// One series. Counters are shown as their rate per second, histograms as p50 and p95.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Which service.
    pub service: String,
    /// Which metric; a rate ends in `:rate`, quantiles in `:p50` and `:p95`.
    pub metric: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Points, oldest first.
    pub points: Vec<(DateTime<Utc>, f64)>,
}

/// Arguments of `query_traces`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueryTracesArgs {
    /// Which time range to look at.
    #[serde(flatten)]
    pub range: TimeRange,
    /// Only traces with a span of this service.
    pub service: Option<String>,
    /// Only traces with a span whose operation contains this text.
    pub operation: Option<String>,
    /// Only traces that took at least this long.
    pub min_duration_ms: Option<u64>,
    /// Only traces with a failed span.
    pub errors_only: Option<bool>,
    /// Only this trace.
    pub trace_id: Option<String>,
    /// At most this many traces, slowest first; 5 unless told, 20 at most.
    pub limit: Option<usize>,
}

/// Traces.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Traces {
    /// How many traces match in all.
    pub matched: u64,
    /// The slowest of them.
    pub traces: Vec<Trace>,
}

/// One request through the system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    /// Its identity.
    pub trace_id: String,
    /// When its first span started.
    pub start: DateTime<Utc>,
    /// How long its root span took.
    pub duration_ms: f64,
    /// Its spans, parents before children; identical siblings are folded into one with a count.
    pub spans: Vec<TraceSpan>,
}

/// One span, or several identical siblings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TraceSpan {
    /// How deep it is below the root.
    pub depth: u32,
    /// Which service.
    pub service: String,
    /// What it did.
    pub operation: String,
    /// Whom it called, for a client span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// How many identical siblings this row stands for.
    pub count: u32,
    /// How long they took together.
    pub duration_ms: f64,
    /// How many of them failed.
    pub errors: u32,
    /// Attributes of the first.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub attributes: serde_json::Map<String, serde_json::Value>,
}

/// Arguments of the three comparing tools: `rank_metric_anomalies`, `compare_log_templates`,
/// `compare_trace_edges`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompareArgs {
    /// Which time range to look at.
    #[serde(flatten)]
    pub range: TimeRange,
    /// Where "after" begins. Without it, the onset is estimated from the user-facing signals and
    /// returned.
    pub onset: Option<DateTime<Utc>>,
    /// Only this service.
    pub service: Option<String>,
    /// At most this many rows; 25 unless told, 100 at most.
    pub limit: Option<usize>,
}

/// The two windows that were compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Windows {
    /// Start of "before".
    pub before_from: DateTime<Utc>,
    /// End of "before" and start of "after".
    pub onset: DateTime<Utc>,
    /// End of "after".
    pub after_to: DateTime<Utc>,
    /// Whether the onset was estimated rather than given.
    pub onset_estimated: bool,
}

/// Answer of `rank_metric_anomalies`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricAnomalies {
    /// What was compared.
    pub windows: Windows,
    /// Series compared in all.
    pub compared: u64,
    /// The most changed, most changed first.
    pub anomalies: Vec<MetricAnomaly>,
}

/// One series that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricAnomaly {
    /// Which service.
    pub service: String,
    /// Which metric, with `:rate`, `:p50` or `:p95` where derived.
    pub metric: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Median before.
    pub before: f64,
    /// Spread before (inter-quartile range, floored).
    pub spread: f64,
    /// Median after.
    pub after: f64,
    /// Most extreme value after.
    pub extreme: f64,
    /// Signed distance of the extreme from the median before, in spreads.
    pub score: f64,
    /// When it first left its usual band and stayed out.
    pub first_breach_at: Option<DateTime<Utc>>,
}

/// Answer of `compare_log_templates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogTemplateDiff {
    /// What was compared.
    pub windows: Windows,
    /// Lines read.
    pub lines: u64,
    /// Templates that are new or changed most, most changed first.
    pub templates: Vec<LogTemplate>,
}

/// Lines that differ only in numbers and names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogTemplate {
    /// Which service writes it.
    pub service: String,
    /// Its level.
    pub level: String,
    /// The text with `<*>` for what varies.
    pub template: String,
    /// Lines a minute before.
    pub before_per_minute: f64,
    /// Lines a minute after.
    pub after_per_minute: f64,
    /// The first line of it in the range.
    pub first_seen: DateTime<Utc>,
    /// One line of it, from after the onset where there is one.
    pub sample: String,
    /// Up to three traces it appears in.
    pub trace_ids: Vec<String>,
}

/// Answer of `compare_trace_edges`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TraceEdgeDiff {
    /// What was compared.
    pub windows: Windows,
    /// Calls from one service to another, most changed first.
    pub edges: Vec<EdgeDiff>,
    /// Operations inside one service, most changed self time first.
    pub operations: Vec<OperationDiff>,
}

/// One edge before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EdgeDiff {
    /// The caller.
    pub from: String,
    /// The callee.
    pub to: String,
    /// Before the onset.
    pub before: EdgeStats,
    /// After it.
    pub after: EdgeStats,
}

/// Statistics of an edge in one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EdgeStats {
    /// Calls.
    pub calls: u64,
    /// Calls for each server span of the caller that made any: above 1 means fan-out.
    pub calls_per_request: f64,
    /// Share that failed, 0 to 1.
    pub error_share: f64,
    /// Median time as the caller saw it.
    pub p50_ms: f64,
    /// 95th percentile of the same.
    pub p95_ms: f64,
    /// Median of the caller's time minus the callee's: network and queueing. `null` where the
    /// callee writes no spans.
    pub gap_p50_ms: Option<f64>,
}

/// One operation before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperationDiff {
    /// Which service.
    pub service: String,
    /// Which operation (server and internal spans).
    pub operation: String,
    /// Before the onset.
    pub before: OperationStats,
    /// After it.
    pub after: OperationStats,
}

/// Statistics of an operation in one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperationStats {
    /// How often.
    pub calls: u64,
    /// Share that failed, 0 to 1.
    pub error_share: f64,
    /// Median duration.
    pub p50_ms: f64,
    /// 95th percentile of the duration.
    pub p95_ms: f64,
    /// Median time not spent in calls to others.
    pub self_p50_ms: f64,
    /// 95th percentile of the same.
    pub self_p95_ms: f64,
}
