//! What can go wrong with the private cluster, and what the person at the keyboard does about it.

use std::path::PathBuf;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No installation was found.
    #[error(
        "PostgreSQL is not installed: looked in $PG_BIN, in PATH and in /usr/lib/postgresql/*/bin. \
         Install it (Debian, Ubuntu: `apt-get install postgresql`) or point PG_BIN to its bin folder"
    )]
    NotInstalled,
    /// We are root, and PostgreSQL refuses to run as root.
    #[error("this machine has neither a user `postgres` nor `nobody` to run PostgreSQL as")]
    NoUnprivilegedUser,
    /// A file or folder of the cluster could not be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// One of PostgreSQL's programs could not be run at all.
    #[error("cannot run {program}: {source}")]
    Spawn {
        /// Which.
        program: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// One of PostgreSQL's programs said no.
    #[error("{program} failed: {output}")]
    Failed {
        /// Which.
        program: &'static str,
        /// What it printed, or the end of the server's log.
        output: String,
    },
}

impl PostgresError {
    /// For `map_err` on an I/O call about `path`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
