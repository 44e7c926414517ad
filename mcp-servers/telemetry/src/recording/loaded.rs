//! One recording in memory.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use nightshift_observer::{ReadError, json, text};
use nightshift_protocol::tools::telemetry::{EdgeSeen, ServiceKind};
use serde::Deserialize;

use super::{metrics, ndjson};
use crate::model::{LogRecord, RawSeries, Span, Topology};

/// Everything that a recording tells about a system's behaviour.
#[derive(Debug)]
pub struct Recording {
    /// Log lines in order of time.
    pub logs: Arc<Vec<LogRecord>>,
    /// Series in order of their keys.
    pub series: Vec<RawSeries>,
    /// Spans in order of their start.
    pub spans: Arc<Vec<Span>>,
    /// Who calls whom.
    pub topology: Topology,
    /// Roughly how much memory it takes.
    pub bytes: usize,
}

#[derive(Deserialize)]
struct TopologyFile {
    #[serde(default)]
    services: Vec<ServiceLine>,
    #[serde(default)]
    edges: Vec<EdgeSeen>,
}

#[derive(Deserialize)]
struct ServiceLine {
    name: String,
    kind: ServiceKind,
}

impl Recording {
    /// Reads and parses the files. This takes a while: call it where blocking is allowed.
    ///
    /// Lines that are not as the format demands are left out and counted in our log, so that one
    /// broken line does not hide an incident.
    pub fn read(directory: &Path) -> Result<Self, ReadError> {
        let mut names = ndjson::Names::default();
        let log_text = text(directory, "logs.ndjson.gz")?;
        let (logs, bad_logs) = ndjson::logs(&log_text, &mut names);
        let metric_text = text(directory, "metrics.csv.gz")?;
        let (series, bad_samples) = metrics::series(&metric_text, &mut names);
        let span_text = text(directory, "spans.ndjson.gz")?;
        let (spans, bad_spans) = ndjson::spans(&span_text, &mut names);
        let topology: TopologyFile = json(directory, "topology.json")?;
        if bad_logs + bad_samples + bad_spans > 0 {
            tracing::warn!(
                directory = %directory.display(), bad_logs, bad_samples, bad_spans,
                "Left out lines of a recording that are not as the format demands"
            );
        }
        // What was text takes about as much again once parsed, plus the records themselves.
        let bytes = log_text.len()
            + span_text.len()
            + logs.len() * size_of::<LogRecord>()
            + spans.len() * size_of::<Span>()
            + series
                .iter()
                .map(|one| one.samples.len() * 16 + 512)
                .sum::<usize>();
        Ok(Self {
            logs: Arc::new(logs),
            series,
            spans: Arc::new(spans),
            topology: Topology {
                services: topology
                    .services
                    .into_iter()
                    .map(|line| (line.name, line.kind))
                    .collect::<BTreeMap<_, _>>(),
                edges: topology.edges,
            },
            bytes,
        })
    }
}
