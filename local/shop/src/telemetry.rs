//! What a process tells about itself: a log, spans and metrics.

pub mod journal;
pub mod metrics;
pub mod spans;
pub mod trace;

use std::{io, path::Path, sync::Arc};

use self::{journal::Journal, metrics::Metrics, spans::SpanWriter};

/// Everything that one process tells.
#[derive(Debug)]
pub struct Telemetry {
    /// The service's name, as in the topology.
    pub service: String,
    /// Its log.
    pub journal: Journal,
    /// Its spans.
    pub spans: SpanWriter,
    /// Its metrics.
    pub metrics: Metrics,
}

impl Telemetry {
    /// Opens `SERVICE-PID.log` and `SERVICE-PID.spans` in `dir`.
    pub fn open(service: &str, dir: &Path) -> io::Result<Arc<Self>> {
        std::fs::create_dir_all(dir)?;
        let file = |kind: &str| dir.join(format!("{service}-{}.{kind}", std::process::id()));
        Ok(Arc::new(Self {
            service: service.to_owned(),
            journal: Journal::open(service, &file("log"))?,
            spans: SpanWriter::open(service, &file("spans"))?,
            metrics: Metrics::default(),
        }))
    }
}
