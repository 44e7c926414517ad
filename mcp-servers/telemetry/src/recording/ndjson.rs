//! Parses log lines and spans, one JSON object a line.

use std::{borrow::Cow, collections::HashSet, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::{Level, LogRecord, Span, SpanKind};

/// Names that come again and again, kept once.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    pub(super) fn keep(&mut self, name: &str) -> Arc<str> {
        if let Some(kept) = self.0.get(name) {
            return Arc::clone(kept);
        }
        let kept: Arc<str> = name.into();
        self.0.insert(Arc::clone(&kept));
        kept
    }
}

#[derive(Deserialize)]
struct LogLine<'a> {
    at: DateTime<Utc>,
    #[serde(borrow)]
    service: Cow<'a, str>,
    #[serde(borrow)]
    level: Cow<'a, str>,
    message: Box<str>,
    trace_id: Option<Box<str>>,
    span_id: Option<Box<str>>,
    #[serde(default)]
    fields: Map<String, Value>,
}

#[derive(Deserialize)]
struct SpanLine<'a> {
    trace_id: Box<str>,
    span_id: Box<str>,
    parent_id: Option<Box<str>>,
    #[serde(borrow)]
    service: Cow<'a, str>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    peer: Option<Cow<'a, str>>,
    start: DateTime<Utc>,
    duration_us: u64,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(default)]
    attributes: Map<String, Value>,
}

/// Log lines in order of time, and how many lines were no log lines.
pub(super) fn logs(text: &str, names: &mut Names) -> (Vec<LogRecord>, usize) {
    let (mut records, skipped) = each(text, |line| {
        let line: LogLine<'_> = serde_json::from_str(line).ok()?;
        Some(LogRecord {
            at: line.at,
            service: names.keep(&line.service),
            level: Level::parse(&line.level)?,
            message: line.message,
            trace_id: line.trace_id,
            span_id: line.span_id,
            fields: line.fields,
        })
    });
    // Stable: lines of the same instant stay as they were written.
    records.sort_by_key(|record| record.at);
    (records, skipped)
}

/// Spans in order of their start, and how many lines were no spans.
pub(super) fn spans(text: &str, names: &mut Names) -> (Vec<Span>, usize) {
    let (mut spans, skipped) = each(text, |line| {
        let line: SpanLine<'_> = serde_json::from_str(line).ok()?;
        Some(Span {
            trace_id: line.trace_id,
            span_id: line.span_id,
            parent_id: line.parent_id.filter(|parent| !parent.is_empty()),
            service: names.keep(&line.service),
            operation: names.keep(&line.operation),
            kind: match line.kind.as_ref() {
                "server" => SpanKind::Server,
                "client" => SpanKind::Client,
                "internal" => SpanKind::Internal,
                _ => return None,
            },
            peer: line.peer.map(|peer| names.keep(&peer)),
            start: line.start,
            duration_us: line.duration_us,
            failed: line.status == "error",
            attributes: line.attributes,
        })
    });
    spans.sort_by_key(|span| span.start);
    (spans, skipped)
}

fn each<T>(text: &str, mut parse: impl FnMut(&str) -> Option<T>) -> (Vec<T>, usize) {
    let mut parsed = Vec::new();
    let mut skipped = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match parse(line) {
            Some(record) => parsed.push(record),
            None => skipped += 1,
        }
    }
    (parsed, skipped)
}

#[cfg(test)]
mod tests {
    use super::{Names, logs, spans};
    use crate::model::{Level, SpanKind};

    #[test]
    fn lines_come_out_in_order_of_time_and_broken_ones_are_counted() {
        let text = r#"
{"at":"2026-03-01T10:00:02Z","service":"a","level":"ERROR","message":"second \"quoted\"","trace_id":"t1","fields":{"n":1}}
not json
{"at":"2026-03-01T10:00:01Z","service":"a","level":"info","message":"first"}
{"at":"2026-03-01T10:00:01Z","service":"a","level":"loud","message":"no such level"}
"#;
        let (records, skipped) = logs(text, &mut Names::default());

        assert_eq!(skipped, 2);
        assert_eq!(records[0].message.as_ref(), "first");
        assert_eq!(records[1].message.as_ref(), "second \"quoted\"");
        assert_eq!(records[1].level, Level::Error);
        assert_eq!(records[1].fields["n"], 1);
    }

    #[test]
    fn a_span_keeps_its_side_its_peer_and_its_outcome() {
        let text = r#"{"trace_id":"t","span_id":"1","service":"a","operation":"GET /","kind":"server","start":"2026-03-01T10:00:01Z","duration_us":1500,"status":"ok"}
{"trace_id":"t","span_id":"2","parent_id":"1","service":"a","operation":"call","kind":"client","peer":"b","start":"2026-03-01T10:00:01.001Z","duration_us":900,"status":"error"}"#;
        let (spans, skipped) = spans(text, &mut Names::default());

        assert_eq!(skipped, 0);
        assert_eq!((spans[0].kind, spans[0].failed), (SpanKind::Server, false));
        assert_eq!(spans[1].peer.as_deref(), Some("b"));
        assert_eq!(spans[1].parent_id.as_deref(), Some("1"));
        assert!(spans[1].failed);
    }
}
