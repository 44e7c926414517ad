//! Secrets in a sealed file on this machine.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures_util::future::BoxFuture;
use secrecy::SecretString;

use super::{MAX_AGE, SealedFile, SecretError, Secrets};

/// Secrets in one sealed file, which is read when a secret is first asked for.
pub struct FileSecrets {
    file: SealedFile,
    cache: Mutex<Option<Loaded>>,
}

#[derive(Clone)]
struct Loaded {
    at: Instant,
    secrets: Arc<BTreeMap<String, SecretString>>,
}

impl FileSecrets {
    /// Uses the file at `path`, with its key beside it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::of(SealedFile::at(path))
    }

    /// Uses `file`.
    #[must_use]
    pub const fn of(file: SealedFile) -> Self {
        Self {
            file,
            cache: Mutex::new(None),
        }
    }

    fn resolve(&self, reference: &str) -> Result<SecretString, SecretError> {
        let cached = self
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let fresh = cached.filter(|loaded| loaded.at.elapsed() < MAX_AGE);
        // A reference that is not known may have been added a moment ago, so look again.
        if let Some(secret) = fresh.and_then(|loaded| loaded.secrets.get(reference).cloned()) {
            return Ok(secret);
        }
        let opened = self.file.open()?.into_iter();
        let loaded = Loaded {
            at: Instant::now(),
            secrets: Arc::new(opened.map(|(name, secret)| (name, secret.into())).collect()),
        };
        let secret = loaded.secrets.get(reference).cloned();
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
        secret.ok_or_else(|| SecretError::Unknown(reference.to_owned()))
    }
}

impl Secrets for FileSecrets {
    fn read<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<SecretString, SecretError>> {
        Box::pin(async move { self.resolve(reference) })
    }
}

impl fmt::Debug for FileSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSecrets")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use tempfile::TempDir;

    use super::*;

    fn seal<const N: usize>(dir: &TempDir, secrets: [(&str, &str); N]) -> PathBuf {
        let path = dir.path().join("secrets.sealed");
        let secrets = secrets.map(|(name, secret)| (name.to_owned(), secret.to_owned()));
        SealedFile::at(&path).seal(&secrets.into()).unwrap();
        path
    }

    #[tokio::test]
    async fn a_reference_leads_to_its_secret_and_debug_shows_none() {
        let dir = TempDir::new().unwrap();
        let secrets = FileSecrets::new(seal(&dir, [("a/b", "s3cret")]));

        let secret = secrets.read("a/b").await.unwrap();

        assert_eq!(secret.expose_secret(), "s3cret");
        assert!(!format!("{secrets:?} {secret:?}").contains("s3cret"));
        assert!(matches!(
            secrets.read("a/c").await,
            Err(SecretError::Unknown(_))
        ));
    }

    #[tokio::test]
    async fn a_secret_that_was_just_added_is_found_and_a_known_one_is_not_read_again() {
        let dir = TempDir::new().unwrap();
        let secrets = FileSecrets::new(seal(&dir, [("old", "1")]));
        secrets.read("old").await.unwrap();

        seal(&dir, [("old", "2"), ("new", "3")]);

        assert_eq!(secrets.read("old").await.unwrap().expose_secret(), "1");
        assert_eq!(secrets.read("new").await.unwrap().expose_secret(), "3");
        assert_eq!(secrets.read("old").await.unwrap().expose_secret(), "2");
    }
}
