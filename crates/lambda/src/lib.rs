//! What every function needs before its first line: configuration, telemetry, secrets, the store, the
//! queues, and honest answers to whoever invoked it.

pub mod app;
mod aws;
pub mod batch;
pub mod body;
pub mod courier;
pub mod dead_letters;
pub mod environment;
pub mod http;
pub mod kms;
pub mod machines;
pub mod metrics;
pub mod problem;
pub mod publisher;
pub mod queues;
pub mod schedule;
pub mod secrets;
mod sqs;
pub mod telemetry;

pub use app::{App, StartError};
pub use aws::Aws;
pub use courier::HttpCourier;
pub use environment::{BadEnvironment, Environment};
pub use kms::Kms;
pub use problem::Problem;
pub use publisher::Publisher;
pub use queues::{Queue, Queues};
pub use secrets::{FileSecrets, SealedFile, SecretError, Secrets, SecretsManager};
pub use sqs::Sqs;
