//! Answers questions from a store of recordings.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{loaded::Recording, store::RecordingStore};
use crate::{
    backend::{Backend, BackendError, Pending},
    model::{Batch, Interval, LogRecord, RawSeries, Sample, SeriesKey, Span, Timed, Topology},
};

/// A store of recordings as a source of telemetry about one alert.
#[derive(Debug, Clone)]
pub struct RecordingBackend {
    store: Arc<RecordingStore>,
    voices: Vec<usize>,
}

impl RecordingBackend {
    /// Answers from this store about the alert that fired then.
    #[must_use]
    pub fn new(store: Arc<RecordingStore>, fired_at: DateTime<Utc>) -> Self {
        let voices = store.voices(fired_at);
        Self { store, voices }
    }

    async fn batch<T: Timed>(
        &self,
        interval: Interval,
        records: fn(&Recording) -> &Arc<Vec<T>>,
    ) -> Result<Batch<T>, BackendError> {
        let mut batch = Batch::empty();
        for (overlap, recording) in self.store.overlapping(&self.voices, interval).await? {
            batch.add(records(&recording), overlap);
        }
        Ok(batch)
    }
}

impl Backend for RecordingBackend {
    fn windows(&self) -> Vec<Interval> {
        self.store.windows(&self.voices)
    }

    fn logs(&self, interval: Interval) -> Pending<'_, Batch<LogRecord>> {
        Box::pin(self.batch(interval, |recording| &recording.logs))
    }

    fn spans(&self, interval: Interval) -> Pending<'_, Batch<Span>> {
        Box::pin(self.batch(interval, |recording| &recording.spans))
    }

    fn metrics(&self, interval: Interval) -> Pending<'_, Vec<RawSeries>> {
        Box::pin(async move {
            let mut merged: BTreeMap<Arc<SeriesKey>, Vec<Sample>> = BTreeMap::new();
            for (overlap, recording) in self.store.overlapping(&self.voices, interval).await? {
                for series in &recording.series {
                    let samples = &series.samples;
                    let from = samples.partition_point(|sample| sample.at < overlap.from);
                    let to = samples.partition_point(|sample| sample.at <= overlap.to);
                    if from < to {
                        let into = merged.entry(Arc::clone(&series.key)).or_default();
                        into.extend_from_slice(&samples[from..to]);
                    }
                }
            }
            Ok(merged
                .into_iter()
                .map(|(key, samples)| RawSeries { key, samples })
                .collect())
        })
    }

    fn topology(&self, interval: Interval) -> Pending<'_, Topology> {
        Box::pin(async move {
            let mut services = BTreeMap::new();
            let mut edges = BTreeSet::new();
            for (_, recording) in self.store.overlapping(&self.voices, interval).await? {
                services.extend(recording.topology.services.clone());
                edges.extend(recording.topology.edges.iter().cloned());
            }
            Ok(Topology {
                services,
                edges: edges.into_iter().collect(),
            })
        })
    }
}
