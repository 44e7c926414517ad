//! A store: the recordings in one directory, indexed at start, read when they are asked for.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use nightshift_observer::{ReadError, json};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::history;
use crate::backend::{BackendError, History};

#[derive(Debug, Deserialize)]
struct Manifest {
    format: u32,
    name: String,
    alert_at: DateTime<Utc>,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

/// Why a directory cannot be a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be listed.
    #[error("cannot list {directory}")]
    Unlistable {
        /// Which directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The recordings in one directory, oldest first.
#[derive(Debug)]
pub struct RecordingStore {
    shelf: Vec<Shelved>,
}

#[derive(Debug)]
pub(super) struct Shelved {
    directory: PathBuf,
    manifest: Manifest,
    history: OnceCell<Arc<History>>,
}

impl RecordingStore {
    /// Reads the manifests below `directory`. A recording that cannot be used is left out, with
    /// a warning in our log; an empty store is fine.
    pub fn index(directory: &Path) -> Result<Self, StoreError> {
        let unlistable = |source| StoreError::Unlistable {
            directory: directory.to_owned(),
            source,
        };
        let mut shelf = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(unlistable)? {
            let entry = entry.map_err(unlistable)?;
            // `file_type` does not follow links, so a link cannot lead out of the store.
            if !entry.file_type().map_err(unlistable)?.is_dir() {
                continue;
            }
            let directory = entry.path();
            match manifest(&directory) {
                Ok(manifest) => {
                    shelf.push(Shelved {
                        directory,
                        manifest,
                        history: OnceCell::new(),
                    });
                }
                Err(error) => tracing::warn!(
                    directory = %directory.display(), cause = chain(&error),
                    "Left a recording out of the store"
                ),
            }
        }
        shelf.sort_by(|a, b| {
            (a.manifest.starts_at, &a.manifest.name).cmp(&(b.manifest.starts_at, &b.manifest.name))
        });
        Ok(Self { shelf })
    }

    /// Reads every history, newest first, so that the first question need not wait.
    pub async fn preload(&self) {
        for shelved in self.shelf.iter().rev() {
            if let Err(error) = shelved.history().await {
                let cause = chain(&error);
                let recording = &shelved.manifest.name;
                tracing::warn!(%recording, cause, "Could not read a recording ahead");
            }
        }
    }

    /// The histories, the one that is about this time first, then the others, newest first.
    ///
    /// About a time is the recording whose window holds it (of several the one whose own alert is
    /// nearest), else the newest that began before it, else the oldest. Each recording is a run of
    /// its own from a fresh start, so what another one deployed never reached the system that this
    /// one is about.
    pub(super) fn about(&self, at: DateTime<Utc>) -> impl Iterator<Item = &Shelved> {
        let holds = |one: &Shelved| one.manifest.starts_at <= at && at <= one.manifest.ends_at;
        let began = |one: &Shelved| one.manifest.starts_at <= at;
        let first = (0..self.shelf.len())
            .filter(|place| holds(&self.shelf[*place]))
            .min_by_key(|place| (self.shelf[*place].manifest.alert_at - at).abs());
        let first = first
            .or_else(|| self.shelf.iter().rposition(began))
            .unwrap_or(0);
        let others = (0..self.shelf.len())
            .rev()
            .filter(move |place| *place != first);
        (first..self.shelf.len())
            .take(1)
            .chain(others)
            .map(|place| &self.shelf[place])
    }
}

impl Shelved {
    pub(super) async fn history(&self) -> Result<Arc<History>, BackendError> {
        let read = || async {
            let directory = self.directory.clone();
            tokio::task::spawn_blocking(move || history::read(&directory))
                .await
                .map_err(|_| BackendError::Stopping)?
                .map(Arc::new)
                .map_err(|source| BackendError::Unreadable {
                    name: self.manifest.name.clone(),
                    source,
                })
        };
        self.history.get_or_try_init(read).await.map(Arc::clone)
    }
}

/// An error with everything behind it: the operator must be able to mend the recording.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn manifest(directory: &Path) -> Result<Manifest, ReadError> {
    let manifest: Manifest = json(directory, "recording.json")?;
    if manifest.format != 1 {
        return Err(ReadError::Malformed {
            file: "recording.json".to_owned(),
            reason: format!("format {} is not 1", manifest.format),
        });
    }
    Ok(manifest)
}
