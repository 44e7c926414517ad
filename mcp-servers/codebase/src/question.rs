//! Why a question cannot be answered, in words that help to ask better.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::backend::BackendError;

/// An answer, and whether it was cut to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered<T> {
    /// The answer.
    pub answer: T,
    /// Whether something that belongs to it is missing.
    pub truncated: bool,
}

/// Why a question cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum Unanswerable {
    /// The end lies before the beginning.
    #[error("the time range ends ({}) before it begins ({})", shown(.to), shown(.from))]
    Backwards {
        /// The asked beginning.
        from: DateTime<Utc>,
        /// The asked end.
        to: DateTime<Utc>,
    },
    /// Nothing has this name.
    #[error("there is no {what} `{asked}` here; {}", offered(.close))]
    Unknown {
        /// `service` or `file`.
        what: &'static str,
        /// The asked name.
        asked: String,
        /// Names that come closest, or the first of all.
        close: Vec<String>,
    },
    /// What was given cannot be a commit's hash.
    #[error("`{0}` is no commit hash; give at least its first seven hexadecimal digits")]
    NotAHash(String),
    /// No commit has this hash.
    #[error("no commit begins with `{0}`; list_commits and list_deploys name those that exist")]
    UnknownCommit(String),
    /// Several commits begin with it.
    #[error("several commits begin with `{prefix}`: {}", .candidates.join(", "))]
    AmbiguousCommit {
        /// The asked prefix.
        prefix: String,
        /// The hashes that begin with it.
        candidates: Vec<String>,
    },
    /// The pattern does not compile, or would take too much.
    #[error("the pattern cannot be used: {0}")]
    BadPattern(String),
    /// The file is shorter.
    #[error("`{path}` has {total} lines; there is no line {asked}")]
    BeyondEnd {
        /// Which file.
        path: String,
        /// How many lines it has.
        total: u32,
        /// The first line asked for.
        asked: u32,
    },
    /// The source of code and changes failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

fn shown(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn offered(close: &[String]) -> String {
    if close.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are {}", close.join(", "))
    }
}
