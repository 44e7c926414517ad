//! What every source of telemetry must answer. Prometheus, Loki, Tempo and their like come in here.

use std::{fmt, pin::Pin};

use crate::model::{Batch, Interval, LogRecord, RawSeries, Span, Topology};

/// An answer that is on its way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// A source of telemetry that belongs to one tenant's connection.
///
/// Everything comes in order of time. An interval without data gives an empty answer, not an error.
pub trait Backend: fmt::Debug + Send + Sync {
    /// The windows that it has data for, oldest first.
    fn windows(&self) -> Vec<Interval>;

    /// Log lines.
    fn logs(&self, interval: Interval) -> Pending<'_, Batch<LogRecord>>;

    /// Samples of every series, in order of their keys.
    fn metrics(&self, interval: Interval) -> Pending<'_, Vec<RawSeries>>;

    /// Spans that began in the interval.
    fn spans(&self, interval: Interval) -> Pending<'_, Batch<Span>>;

    /// Who calls whom.
    fn topology(&self, interval: Interval) -> Pending<'_, Topology>;
}

/// Why a backend did not answer.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
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
