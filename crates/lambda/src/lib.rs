//! What every function needs before its first line: configuration, telemetry, secrets, the store,
//! and honest HTTP answers.

pub mod app;
pub mod body;
pub mod environment;
pub mod http;
pub mod problem;
pub mod secrets;
pub mod telemetry;

pub use app::{App, StartError};
pub use environment::{BadEnvironment, Environment};
pub use problem::Problem;
pub use secrets::{FileSecrets, SecretError, Secrets};
