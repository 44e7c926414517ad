//! Logs, metrics and traces for an investigation: raw queries, and differences computed beside the data.

pub mod analysis;
pub mod backend;
pub mod model;
pub mod query;
pub mod question;
pub mod recording;
pub mod series;
pub mod stats;
pub mod templates;

mod connections;
mod tools;

pub use connections::Connections;
pub use tools::TelemetryServer;
