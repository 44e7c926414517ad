//! Answers questions from a store of recordings.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use nightshift_protocol::tools::codebase::Commit;

use super::store::RecordingStore;
use crate::backend::{Backend, BackendError, History, Pending};

/// A store of recordings as a source of code and changes.
#[derive(Debug, Clone)]
pub struct RecordingBackend {
    store: Arc<RecordingStore>,
}

impl RecordingBackend {
    /// Answers from this store.
    #[must_use]
    pub const fn new(store: Arc<RecordingStore>) -> Self {
        Self { store }
    }
}

impl Backend for RecordingBackend {
    fn history(&self, fired_at: DateTime<Utc>) -> Pending<'_, Arc<History>> {
        Box::pin(async move {
            match self.store.about(fired_at).next() {
                Some(shelved) => shelved.history().await,
                None => Err(BackendError::Empty),
            }
        })
    }

    fn commits(&self, prefix: &str, fired_at: DateTime<Utc>) -> Pending<'_, Vec<Commit>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            // The recording that the alert is about goes first; the others only help out, so one
            // of them that cannot be read does not matter.
            for (place, shelved) in self.store.about(fired_at).enumerate() {
                let history = match shelved.history().await {
                    Ok(history) => history,
                    Err(error) if place == 0 => return Err(error),
                    Err(_) => continue,
                };
                let begins = |commit: &&Commit| commit.commit.starts_with(&prefix);
                let found: Vec<Commit> = history.commits.iter().filter(begins).cloned().collect();
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            Ok(Vec::new())
        })
    }
}
