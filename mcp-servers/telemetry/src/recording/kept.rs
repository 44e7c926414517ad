//! Loaded recordings, as many as fit, the least recently used one dropped first.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::loaded::Recording;

/// Keeps loaded recordings up to a number of bytes; always at least the last one.
#[derive(Debug)]
pub(super) struct Kept {
    budget_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    uses: u64,
    entries: BTreeMap<usize, Entry>,
}

#[derive(Debug)]
struct Entry {
    recording: Arc<Recording>,
    last_use: u64,
}

impl Kept {
    pub(super) fn new(budget_bytes: usize) -> Self {
        Self {
            budget_bytes,
            inner: Mutex::default(),
        }
    }

    pub(super) fn find(&self, place: usize) -> Option<Arc<Recording>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.uses += 1;
        let last_use = inner.uses;
        let entry = inner.entries.get_mut(&place)?;
        entry.last_use = last_use;
        Some(Arc::clone(&entry.recording))
    }

    pub(super) fn keep(&self, place: usize, recording: Arc<Recording>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.uses += 1;
        let last_use = inner.uses;
        inner.entries.insert(
            place,
            Entry {
                recording,
                last_use,
            },
        );
        while inner.bytes() > self.budget_bytes && inner.entries.len() > 1 {
            let oldest = inner.entries.iter().min_by_key(|(_, entry)| entry.last_use);
            let Some(place) = oldest.map(|(place, _)| *place) else {
                break;
            };
            inner.entries.remove(&place);
        }
    }

    /// Whether another one of this size would push nothing out.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.bytes() + bytes <= self.budget_bytes
    }
}

impl Inner {
    fn bytes(&self) -> usize {
        self.entries
            .values()
            .map(|entry| entry.recording.bytes)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Kept, Recording};
    use crate::model::Topology;

    fn recording(bytes: usize) -> Arc<Recording> {
        Arc::new(Recording {
            logs: Arc::default(),
            series: Vec::new(),
            spans: Arc::default(),
            topology: Topology::default(),
            bytes,
        })
    }

    #[test]
    fn the_least_recently_used_one_makes_room() {
        let kept = Kept::new(100);
        kept.keep(0, recording(40));
        kept.keep(1, recording(40));
        assert!(kept.find(0).is_some());
        kept.keep(2, recording(40));

        assert!(kept.find(1).is_none());
        assert!(kept.find(0).is_some());
        assert!(kept.find(2).is_some());
    }

    #[test]
    fn one_that_is_too_large_for_the_budget_is_kept_alone() {
        let kept = Kept::new(100);
        kept.keep(0, recording(40));
        kept.keep(1, recording(400));

        assert!(kept.find(0).is_none());
        assert!(kept.find(1).is_some());
        assert!(!kept.has_room(1));
    }
}
