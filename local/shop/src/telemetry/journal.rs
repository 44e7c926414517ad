//! The log of a process: one JSON object a line.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde_json::{Map, Value, json};

use super::trace::Trace;
use crate::clock;

/// An open log file.
#[derive(Debug)]
pub struct Journal {
    service: String,
    file: Mutex<File>,
}

impl Journal {
    /// Opens or continues the file.
    pub fn open(service: &str, path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            service: service.to_owned(),
            file: Mutex::new(file),
        })
    }

    /// Something ordinary that belongs to no request.
    pub fn note(&self, message: &str, fields: Value) {
        self.write("info", None, message, fields);
    }

    /// Something ordinary in a request: kept where its trace is kept.
    pub fn info(&self, trace: &Trace, message: &str, fields: Value) {
        if trace.sampled {
            self.write("info", Some(trace), message, fields);
        }
    }

    /// Something unusual that we got over; always kept.
    pub fn warn(&self, trace: &Trace, message: &str, fields: Value) {
        self.write("warn", Some(trace), message, fields);
    }

    /// Something that failed; always kept.
    pub fn error(&self, trace: &Trace, message: &str, fields: Value) {
        self.write("error", Some(trace), message, fields);
    }

    fn write(&self, level: &str, trace: Option<&Trace>, message: &str, fields: Value) {
        let mut line = Map::new();
        line.insert("at".into(), json!(clock::stamp(clock::now())));
        line.insert("service".into(), json!(self.service));
        line.insert("level".into(), json!(level));
        line.insert("message".into(), json!(message));
        if let Some(trace) = trace {
            line.insert("trace_id".into(), json!(format!("{:032x}", trace.trace_id)));
            line.insert("span_id".into(), json!(format!("{:016x}", trace.span_id)));
        }
        if fields.as_object().is_some_and(|fields| !fields.is_empty()) {
            line.insert("fields".into(), fields);
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // A full disk must not stop a sale; there is nobody to tell that the log cannot be written.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _unwritten = file.write_all(text.as_bytes());
    }
}
