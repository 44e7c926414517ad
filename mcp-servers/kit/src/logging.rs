//! Where log lines go: standard error, as text or as JSON.

use std::str::FromStr;

use tracing_subscriber::{EnvFilter, fmt};

use crate::{Environment, one_line::OneLine};

/// Crates that write requests and answers to the log at their lowest levels, credentials among them.
const QUIET: &[&str] = &[
    "h2=info",
    "hyper=info",
    "hyper_util=info",
    "reqwest=info",
    "rmcp=info",
    "rustls=info",
];

/// What is logged, and how it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// `NIGHTSHIFT_LOG`: directives such as `info` or `nightshift=debug`.
    pub filter: String,
    /// `NIGHTSHIFT_LOG_FORMAT`.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// The text names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `text` or `json`")]
pub struct UnknownFormat;

impl FromStr for LogFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(UnknownFormat),
        }
    }
}

impl Logging {
    /// Reads it; complaints stay with the environment.
    pub fn read(environment: &mut Environment) -> Option<Self> {
        let filter = environment
            .optional_text("NIGHTSHIFT_LOG")
            .unwrap_or_else(|| "info".into());
        if let Err(error) = EnvFilter::try_new(&filter) {
            environment.complain("NIGHTSHIFT_LOG", format!("is not usable: {error}"));
        }
        let format = environment.or("NIGHTSHIFT_LOG_FORMAT", LogFormat::Text)?;
        Some(Self { filter, format })
    }

    /// Starts logging for the rest of the process. A second start is ignored.
    pub fn start(&self) {
        let lines = fmt()
            .with_env_filter(self.directives())
            .with_writer(OneLine);
        let started = match self.format {
            LogFormat::Text => lines.with_ansi(false).try_init(),
            LogFormat::Json => lines.json().flatten_event(true).try_init(),
        };
        if started.is_err() {
            tracing::debug!("Logging was started before");
        }
    }

    /// Control: `log-quiet`. What was asked for, but never the wire.
    fn directives(&self) -> EnvFilter {
        QUIET
            .iter()
            .filter_map(|quiet| quiet.parse().ok())
            .fold(EnvFilter::new(&self.filter), EnvFilter::add_directive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `log-quiet`.
    #[test]
    fn the_wire_is_never_logged_however_much_is_asked_for() {
        for filter in ["trace", "hyper=trace,reqwest=trace,trace"] {
            let logging = Logging {
                filter: filter.to_owned(),
                format: LogFormat::Json,
            };
            let directives = logging.directives().to_string();
            let set: Vec<&str> = directives.split(',').collect();
            for quiet in QUIET {
                assert!(set.contains(quiet), "{quiet}: {directives}");
            }
            assert!(!directives.contains("hyper=trace"), "{directives}");
        }
    }
}
