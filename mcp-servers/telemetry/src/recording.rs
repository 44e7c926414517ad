//! Recordings: directories of telemetry from real incidents (`docs/recording-format.md`).
//!
//! A store is one directory of recordings, given by the operator at start. Nothing that a caller
//! says ever becomes a path: callers choose among what was found.

mod backend;
mod kept;
mod loaded;
mod metrics;
mod ndjson;
mod store;

pub use backend::RecordingBackend;
pub use loaded::Recording;
pub use store::{Manifest, RecordingStore, StoreError};
