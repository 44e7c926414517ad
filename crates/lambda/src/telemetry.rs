//! Structured logs on standard error: what happened, said once, with its fields.

use std::{io, str::FromStr};

use tracing_subscriber::EnvFilter;

use crate::Environment;

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// For a person at a terminal.
    Text,
}

/// The format is neither `json` nor `text`.
#[derive(Debug, thiserror::Error)]
#[error("expected `json` or `text`")]
pub struct UnknownFormat;

impl FromStr for LogFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(UnknownFormat),
        }
    }
}

/// Starts logging as `NIGHTSHIFT_LOG` (a filter, default `info`) and `NIGHTSHIFT_LOG_FORMAT`
/// (`json` or `text`) say. A second start in one process changes nothing.
pub fn start(env: &mut Environment) {
    let filter = env
        .optional::<String>("NIGHTSHIFT_LOG")
        .unwrap_or_else(|| "info".to_owned());
    let format = env.optional("NIGHTSHIFT_LOG_FORMAT").unwrap_or_default();
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        env.reject("NIGHTSHIFT_LOG", error);
        EnvFilter::new("info")
    });
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = match format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.try_init(),
    };
    if started.is_err() {
        tracing::debug!("Logging had been started before");
    }
}
