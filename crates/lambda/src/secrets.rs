//! Where secrets come from: configuration holds references, and only this resolves one.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

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
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not one JSON object of strings.
    #[error("{} is not a JSON object of strings", .0.display())]
    Malformed(PathBuf),
}

/// Secrets in one JSON file, `{"reference": "secret", …}`, that only its owner may read.
pub struct FileSecrets {
    path: PathBuf,
    cache: Mutex<Option<Loaded>>,
}

#[derive(Clone)]
struct Loaded {
    at: Instant,
    secrets: Arc<BTreeMap<String, SecretString>>,
}

impl FileSecrets {
    /// Uses the file at `path`, which is read when a secret is first asked for.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
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
        let loaded = Loaded {
            at: Instant::now(),
            secrets: Arc::new(load(&self.path)?),
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
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn load(path: &Path) -> Result<BTreeMap<String, SecretString>, SecretError> {
    let unreadable = |source| SecretError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    // Ask the open file, not the name: the name may point elsewhere by now.
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    // serde's own words would quote the text.
    let secrets: BTreeMap<String, String> =
        serde_json::from_str(&text).map_err(|_| SecretError::Malformed(path.to_owned()))?;
    Ok(secrets
        .into_iter()
        .map(|(name, secret)| (name, secret.into()))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::OpenOptionsExt};

    use secrecy::ExposeSecret;
    use tempfile::TempDir;

    use super::*;

    fn written(dir: &TempDir, text: &str, mode: u32) -> PathBuf {
        let path = dir.path().join("secrets.json");
        let _ = fs::remove_file(&path);
        let mut options = fs::OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .unwrap();
        file.set_permissions(fs::Permissions::from_mode(mode))
            .unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    #[tokio::test]
    async fn a_reference_leads_to_its_secret_and_debug_shows_none() {
        let dir = TempDir::new().unwrap();
        let secrets = FileSecrets::new(written(&dir, r#"{"a/b":"s3cret"}"#, 0o600));

        let secret = secrets.read("a/b").await.unwrap();

        assert_eq!(secret.expose_secret(), "s3cret");
        assert!(!format!("{secrets:?} {secret:?}").contains("s3cret"));
        assert!(matches!(
            secrets.read("a/c").await,
            Err(SecretError::Unknown(_))
        ));
    }

    #[tokio::test]
    async fn a_file_that_others_may_read_is_refused() {
        let dir = TempDir::new().unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let secrets = FileSecrets::new(written(&dir, r#"{"a":"b"}"#, mode));
            let refused = secrets.read("a").await;
            assert!(
                matches!(refused, Err(SecretError::Exposed { .. })),
                "{mode:o}: {refused:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_malformed_file_is_refused_without_quoting_it() {
        let dir = TempDir::new().unwrap();
        let secrets = FileSecrets::new(written(&dir, r#"{"a":["s3cret"]}"#, 0o600));
        let error = secrets.read("a").await.unwrap_err();
        assert!(matches!(error, SecretError::Malformed(_)));
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_secret_that_was_just_added_is_found_and_a_known_one_is_not_read_again() {
        let dir = TempDir::new().unwrap();
        let secrets = FileSecrets::new(written(&dir, r#"{"old":"1"}"#, 0o600));
        secrets.read("old").await.unwrap();

        written(&dir, r#"{"old":"2","new":"3"}"#, 0o600);

        assert_eq!(secrets.read("old").await.unwrap().expose_secret(), "1");
        assert_eq!(secrets.read("new").await.unwrap().expose_secret(), "3");
        assert_eq!(secrets.read("old").await.unwrap().expose_secret(), "2");
    }
}
