//! What every source of code and changes must answer. GitHub, GitLab and their like come in here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    pin::Pin,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use nightshift_protocol::tools::codebase::{Commit, Deploy, FlagChange};

/// An answer that is on its way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// A source of code and changes that belongs to one tenant's connection.
pub trait Backend: fmt::Debug + Send + Sync {
    /// The history as it stood around an alert.
    fn history(&self, fired_at: DateTime<Utc>) -> Pending<'_, Arc<History>>;

    /// Commits whose hash begins with `prefix`, whenever they were made.
    fn commits(&self, prefix: &str, fired_at: DateTime<Utc>) -> Pending<'_, Vec<Commit>>;
}

/// What happened to a system's code, and the code itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Commits, newest first.
    pub commits: Vec<Commit>,
    /// Releases, newest first.
    pub deploys: Vec<Deploy>,
    /// Switched flags, newest first.
    pub flags: Vec<FlagChange>,
    /// The commit that the files are from.
    pub tree_commit: String,
    /// The text of each file, by path.
    pub files: BTreeMap<String, String>,
    /// Every service that is known by name.
    pub services: BTreeSet<String>,
}

/// Why a backend did not answer.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The store has nothing at all.
    #[error("this store holds no code and no changes")]
    Empty,
    /// The store holds something that cannot be read; the operator finds the reason in the log.
    #[error("the recording `{name}` cannot be read")]
    Unreadable {
        /// Which recording.
        name: String,
        /// Why.
        #[source]
        source: nightshift_observer::ReadError,
    },
    /// Reading was cut short because the server is stopping.
    #[error("the server is stopping")]
    Stopping,
}
