//! What changed before an alert, and the text of it: deploys, flags, commits with their diffs, files.

pub mod answers;
pub mod backend;
pub mod question;
pub mod recording;

mod config;
mod connections;
mod tools;

pub use config::Config;
pub use connections::{Connections, NoConnection};
pub use tools::CodebaseServer;
