//! What a caller asks, made definite: which stretch of time, which service, and why a question
//! cannot be answered.

mod close;
mod time;

pub use close::closest;
pub use time::{Asked, ask};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{backend::BackendError, model::Interval};

/// An answer, and whether it was cut to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered<T> {
    /// The answer.
    pub answer: T,
    /// Whether something that belongs to it is missing.
    pub truncated: bool,
}

/// Why a question cannot be answered. The agent reads the words and asks better.
#[derive(Debug, thiserror::Error)]
pub enum Unanswerable {
    /// The end lies before the beginning.
    #[error("the time range ends ({}) before it begins ({})", shown(*.to), shown(*.from))]
    Backwards {
        /// The asked beginning.
        from: DateTime<Utc>,
        /// The asked end.
        to: DateTime<Utc>,
    },
    /// More time than a tool looks at in one call.
    #[error("the time range is longer than {hours} hours; ask for a shorter one")]
    TooLong {
        /// The most that is allowed.
        hours: i64,
    },
    /// This store has nothing for that time.
    #[error("no telemetry between {} and {}; {}", shown(.asked.from), shown(.asked.to), listed(.windows))]
    NoData {
        /// What was asked for.
        asked: Interval,
        /// What there is, nearest first.
        windows: Vec<Interval>,
    },
    /// The onset does not split the range in two.
    #[error("the onset {} leaves nothing to compare in the range {} to {}", shown(*.onset), shown(.range.from), shown(.range.to))]
    OnsetOutside {
        /// The asked or estimated onset.
        onset: DateTime<Utc>,
        /// What there is data for.
        range: Interval,
    },
    /// Nothing has this name.
    #[error("there is no {what} `{asked}` here; {}", names(.close))]
    Unknown {
        /// `service`, `metric` or `trace`.
        what: &'static str,
        /// The asked name.
        asked: String,
        /// Names that come closest, or all of few.
        close: Vec<String>,
    },
    /// A word that we do not know.
    #[error("`{0}` is no level; use `debug`, `info`, `warn` or `error`")]
    UnknownLevel(String),
    /// The source of telemetry failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

fn shown(at: impl std::borrow::Borrow<DateTime<Utc>>) -> String {
    at.borrow().to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn listed(windows: &[Interval]) -> String {
    if windows.is_empty() {
        return "this store holds no data at all".to_owned();
    }
    let each = windows
        .iter()
        .map(|one| format!("{}..{}", shown(one.from), shown(one.to)));
    format!("data exists for {}", each.collect::<Vec<_>>().join(", "))
}

fn names(close: &[String]) -> String {
    if close.is_empty() {
        return "there are none in this time range".to_owned();
    }
    format!("there are {}", close.join(", "))
}

/// Runs a calculation where it does not keep other requests waiting.
pub async fn calculate<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unanswerable> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| BackendError::Stopping.into())
}
