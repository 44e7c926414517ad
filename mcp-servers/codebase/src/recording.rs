//! Recordings: directories with the changes before real incidents (`docs/recording-format.md`).
//!
//! A store is one directory of recordings, given by the operator at start. Nothing that a caller
//! says ever becomes a path: callers choose among what was found.

mod backend;
mod history;
mod store;

pub use backend::RecordingBackend;
pub use store::{RecordingStore, StoreError};
