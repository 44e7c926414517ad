//! What changed before an alert, and the text of it: deploys, flags, commits with their diffs, files.

pub mod answers;
pub mod backend;
pub mod question;
pub mod recording;

mod connections;
mod tools;

pub use connections::Connections;
pub use tools::CodebaseServer;
