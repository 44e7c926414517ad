//! The spans of a process, one JSON object a line, in the form that a recording holds.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::trace::Trace;
use crate::clock;

/// An open span file.
#[derive(Debug)]
pub struct SpanWriter {
    service: String,
    file: Mutex<File>,
}

/// A span that has begun.
#[derive(Debug)]
pub struct OpenSpan {
    trace: Trace,
    operation: String,
    kind: &'static str,
    peer: Option<String>,
    start: DateTime<Utc>,
    began: Instant,
}

impl OpenSpan {
    /// Work that another process asked for.
    #[must_use]
    pub fn server(trace: Trace, operation: &str) -> Self {
        Self::begin(trace, operation, "server", None)
    }

    /// A call to `peer`, a service or something outside.
    #[must_use]
    pub fn client(trace: Trace, operation: &str, peer: &str) -> Self {
        Self::begin(trace, operation, "client", Some(peer.to_owned()))
    }

    /// Work inside the process.
    #[must_use]
    pub fn internal(trace: Trace, operation: &str) -> Self {
        Self::begin(trace, operation, "internal", None)
    }

    /// Seconds since it began.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn begin(trace: Trace, operation: &str, kind: &'static str, peer: Option<String>) -> Self {
        Self {
            trace,
            operation: operation.to_owned(),
            kind,
            peer,
            start: clock::now(),
            began: Instant::now(),
        }
    }
}

impl SpanWriter {
    /// Opens or continues the file.
    pub fn open(service: &str, path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            service: service.to_owned(),
            file: Mutex::new(file),
        })
    }

    /// Ends a span and writes it, if its trace is kept.
    pub fn end(&self, span: &OpenSpan, ok: bool, attributes: Value) {
        if !span.trace.sampled {
            return;
        }
        let mut line = Map::new();
        line.insert(
            "trace_id".into(),
            json!(format!("{:032x}", span.trace.trace_id)),
        );
        line.insert(
            "span_id".into(),
            json!(format!("{:016x}", span.trace.span_id)),
        );
        if let Some(parent) = span.trace.parent_id {
            line.insert("parent_id".into(), json!(format!("{parent:016x}")));
        }
        line.insert("service".into(), json!(self.service));
        line.insert("operation".into(), json!(span.operation));
        line.insert("kind".into(), json!(span.kind));
        if let Some(peer) = &span.peer {
            line.insert("peer".into(), json!(peer));
        }
        line.insert("start".into(), json!(clock::stamp(span.start)));
        let took = u64::try_from(span.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        line.insert("duration_us".into(), json!(took));
        line.insert("status".into(), json!(if ok { "ok" } else { "error" }));
        if attributes
            .as_object()
            .is_some_and(|attributes| !attributes.is_empty())
        {
            line.insert("attributes".into(), attributes);
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _unwritten = file.write_all(text.as_bytes());
    }
}
