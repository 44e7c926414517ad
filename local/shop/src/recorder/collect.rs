//! Brings together what the processes wrote during the window.

use std::{collections::HashSet, io, path::Path};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    recording::{LogLine, MetricRow, RecordingError, Span, read_plain_lines},
    telemetry::metrics::Sample,
};

/// All log lines of the window, oldest first.
pub fn logs(
    dir: &Path,
    window: (DateTime<Utc>, DateTime<Utc>),
) -> Result<Vec<LogLine>, RecordingError> {
    let mut lines = Vec::new();
    for path in files(dir, "log")? {
        lines.extend(read_plain_lines::<LogLine>(&path)?);
    }
    lines.retain(|line| (window.0..=window.1).contains(&line.at));
    lines.sort_by_key(|line| line.at);
    Ok(lines)
}

/// All spans of the traces that lie wholly in the window, oldest first.
pub fn spans(
    dir: &Path,
    window: (DateTime<Utc>, DateTime<Utc>),
) -> Result<Vec<Span>, RecordingError> {
    let mut spans = Vec::new();
    for path in files(dir, "spans")? {
        spans.extend(read_plain_lines::<Span>(&path)?);
    }
    let outside = |span: &Span| {
        let took = TimeDelta::microseconds(i64::try_from(span.duration_us).unwrap_or(i64::MAX));
        span.start < window.0 || span.start + took > window.1
    };
    let cut: HashSet<String> = spans
        .iter()
        .filter(|span| outside(span))
        .map(|span| span.trace_id.clone())
        .collect();
    spans.retain(|span| !cut.contains(&span.trace_id));
    spans.sort_by_key(|span| span.start);
    Ok(spans)
}

/// A scrape as rows; the separators of the file cannot be part of a label.
pub fn rows(
    service: &str,
    at: DateTime<Utc>,
    samples: &[Sample],
) -> impl Iterator<Item = MetricRow> {
    samples.iter().map(move |sample| {
        let clean = |text: &str| text.replace([',', ';', '\n'], " ");
        let labels: Vec<_> = sample
            .labels
            .iter()
            .map(|(k, v)| format!("{}={}", clean(k), clean(v)))
            .collect();
        MetricRow {
            at,
            service: service.to_owned(),
            metric: sample.metric.clone(),
            labels: labels.join(";"),
            value: sample.value,
        }
    })
}

fn files(dir: &Path, kind: &str) -> Result<Vec<std::path::PathBuf>, RecordingError> {
    let failed = |source: io::Error| RecordingError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == kind) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
