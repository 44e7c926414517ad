//! Where secrets come from: configuration holds references, and only this resolves one.

mod file;
mod manager;
mod sealed;

pub use file::FileSecrets;
pub use manager::SecretsManager;
pub use sealed::{SealedFile, key_path};

use std::{fmt, io, path::PathBuf, time::Duration};

use futures_util::future::BoxFuture;
use secrecy::SecretString;

/// How long a secret that was read once may be used without looking again.
pub const MAX_AGE: Duration = Duration::from_mins(1);

/// Resolves references to secrets.
pub trait Secrets: fmt::Debug + Send + Sync {
    /// The secret behind `reference`, at most [`MAX_AGE`] old.
    fn read<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<SecretString, SecretError>>;
}

/// A secret could not be had. Never shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no secret of that name.
    #[error("there is no secret `{0}`")]
    Unknown(String),
    /// Others than its owner may read the file.
    #[error("{} is open to others (mode {mode:o}); run `chmod 600` on it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file could not be read or written.
    #[error("cannot use {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not one that was sealed here, or not a JSON object of strings inside.
    #[error("{} does not hold sealed secrets", .0.display())]
    Malformed(PathBuf),
    /// The file was sealed with another key, or changed since.
    #[error("{} does not open with the key beside it", .0.display())]
    WrongKey(PathBuf),
    /// The keeper of secrets did not answer, or refused.
    #[error("the secret `{reference}` could not be fetched: {why}")]
    Refused {
        /// Which.
        reference: String,
        /// The keeper's words.
        why: String,
    },
}
