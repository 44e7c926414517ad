//! What the supervisor tells the harness beside the brief: where things are.

use std::path::PathBuf;

/// Where things are.
#[derive(Debug, Clone)]
pub struct Config {
    /// The supervisor's socket.
    pub socket: PathBuf,
    /// The directory of the session file.
    pub session_dir: PathBuf,
}

impl Config {
    /// Reads the environment, with the sandbox's own places as defaults.
    #[must_use]
    pub fn from_env() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where configuration is read"
        )]
        let path = |name: &str, default: &str| {
            std::env::var(name).map_or_else(|_| PathBuf::from(default), PathBuf::from)
        };
        Self {
            socket: path("NIGHTSHIFT_AGENT_SOCKET", "/run/nightshift/agent.sock"),
            session_dir: path("NIGHTSHIFT_SESSION_DIR", "/data/session"),
        }
    }
}
