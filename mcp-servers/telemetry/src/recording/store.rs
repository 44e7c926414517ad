//! A store: the recordings in one directory, indexed at start, loaded when they are asked for.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use nightshift_observer::{ReadError, json};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{kept::Kept, loaded::Recording};
use crate::{backend::BackendError, model::Interval};

/// How much of a store is kept in memory, in bytes.
const BUDGET_BYTES: usize = 512 * 1024 * 1024;

/// What a recording says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// Which version of the format it is in; we read 1.
    pub format: u32,
    /// Its name.
    pub name: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When its alert fired.
    pub alert_at: DateTime<Utc>,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
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
    kept: Kept,
}

#[derive(Debug)]
struct Shelved {
    directory: PathBuf,
    manifest: Manifest,
    /// Held while it is read, so that it is read once however many ask.
    reading: Mutex<()>,
}

impl Shelved {
    const fn window(&self) -> Interval {
        Interval {
            from: self.manifest.starts_at,
            to: self.manifest.ends_at,
        }
    }
}

impl RecordingStore {
    /// Reads the manifests below `directory`. A recording that cannot be used is left out, with
    /// a warning in our log; an empty store is fine.
    pub fn index(directory: &Path) -> Result<Self, StoreError> {
        Self::with_budget(directory, BUDGET_BYTES)
    }

    /// The same, keeping at most `budget_bytes` of recordings in memory.
    pub fn with_budget(directory: &Path, budget_bytes: usize) -> Result<Self, StoreError> {
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
                        reading: Mutex::new(()),
                    });
                }
                Err(error) => tracing::warn!(
                    directory = %directory.display(), cause = chain(&error), "Left a recording out of the store"
                ),
            }
        }
        shelf.sort_by(|a, b| {
            (a.manifest.starts_at, &a.manifest.name).cmp(&(b.manifest.starts_at, &b.manifest.name))
        });
        Ok(Self {
            shelf,
            kept: Kept::new(budget_bytes),
        })
    }

    /// What each recording says of itself, oldest first.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.shelf.iter().map(|shelved| &shelved.manifest)
    }

    /// The recordings that speak about an alert, by their place on the shelf: for each stretch of
    /// time one.
    ///
    /// Recordings whose windows overlap are different runs of a system: mixed, they would tell
    /// two stories about the same minute. Of those, the one whose own alert is nearest speaks.
    #[must_use]
    pub fn voices(&self, about: DateTime<Utc>) -> Vec<usize> {
        let mut nearest: Vec<usize> = (0..self.shelf.len()).collect();
        nearest.sort_by_key(|place| (self.shelf[*place].manifest.alert_at - about).abs());
        let mut voices: Vec<usize> = Vec::new();
        for place in nearest {
            let window = self.shelf[place].window();
            if !voices
                .iter()
                .any(|other| self.shelf[*other].window().overlap(&window).is_some())
            {
                voices.push(place);
            }
        }
        voices.sort_unstable();
        voices
    }

    /// The stretches of time that these recordings cover.
    #[must_use]
    pub fn windows(&self, voices: &[usize]) -> Vec<Interval> {
        voices
            .iter()
            .map(|place| self.shelf[*place].window())
            .collect()
    }

    /// Loads recordings, newest first, while there is room, so that the first question need not wait.
    pub async fn preload(&self) {
        for place in (0..self.shelf.len()).rev() {
            let shelved = &self.shelf[place];
            match self.load(place).await {
                Ok(recording) if self.kept.has_room(recording.bytes) => {}
                Ok(_) => return,
                Err(error) => tracing::warn!(
                    recording = %shelved.manifest.name, cause = chain(&error), "Could not load a recording ahead"
                ),
            }
        }
    }

    /// Those of these recordings whose window overlaps the interval, each with the overlap.
    pub async fn overlapping(
        &self,
        voices: &[usize],
        interval: Interval,
    ) -> Result<Vec<(Interval, Arc<Recording>)>, BackendError> {
        let mut found = Vec::new();
        for place in voices {
            if let Some(overlap) = self.shelf[*place].window().overlap(&interval) {
                found.push((overlap, self.load(*place).await?));
            }
        }
        Ok(found)
    }

    async fn load(&self, place: usize) -> Result<Arc<Recording>, BackendError> {
        if let Some(kept) = self.kept.find(place) {
            return Ok(kept);
        }
        let shelved = &self.shelf[place];
        let _reading = shelved.reading.lock().await;
        if let Some(kept) = self.kept.find(place) {
            return Ok(kept);
        }
        let directory = shelved.directory.clone();
        let name = &shelved.manifest.name;
        let began = std::time::Instant::now();
        let recording = tokio::task::spawn_blocking(move || Recording::read(&directory))
            .await
            .map_err(|_| BackendError::Stopping)?
            .map_err(|source| BackendError::Unreadable {
                name: name.clone(),
                source,
            })?;
        tracing::info!(
            recording = %name,
            took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            log_lines = recording.logs.len(),
            spans = recording.spans.len(),
            series = recording.series.len(),
            bytes = recording.bytes,
            "Loaded a recording"
        );
        let recording = Arc::new(recording);
        self.kept.keep(place, Arc::clone(&recording));
        Ok(recording)
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
    const FILE: &str = "recording.json";
    let manifest: Manifest = json(directory, FILE)?;
    let malformed = |reason: String| {
        Err(ReadError::Malformed {
            file: FILE.to_owned(),
            reason,
        })
    };
    if manifest.format != 1 {
        return malformed(format!("format {} is not 1", manifest.format));
    }
    if manifest.ends_at < manifest.starts_at {
        return malformed("it ends before it starts".to_owned());
    }
    Ok(manifest)
}
