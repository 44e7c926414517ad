//! Secrets at rest on one machine: one sealed file, and its key in a file of its own.
//!
//! Whoever copies the file alone (a backup, a support bundle, a disk image of the folder it is in) has
//! nothing. Layout: [`MAGIC`], 24 bytes of nonce, XChaCha20-Poly1305 of a JSON object of texts; what
//! stands in front is authenticated with it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand::Rng;
use zeroize::Zeroizing;

use super::SecretError;

/// How a sealed file begins.
const MAGIC: &[u8] = b"nightshift sealed secrets 1\n";
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;

/// A sealed file of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedFile {
    path: PathBuf,
    key: PathBuf,
}

/// Where the key of a sealed file lies unless somebody says otherwise: beside it, with `.key` added.
#[must_use]
pub fn key_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".key");
    name.into()
}

impl SealedFile {
    /// The file at `path`, with its key beside it.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let key = key_path(&path);
        Self { path, key }
    }

    /// The file at `path` with its key elsewhere.
    pub fn with_key(path: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let (path, key) = (path.into(), key.into());
        Self { path, key }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it. Both files must be their owner's alone.
    pub fn open(&self) -> Result<BTreeMap<String, String>, SecretError> {
        let sealed = private(&self.path)?;
        let key = self.key()?;
        let malformed = || SecretError::Malformed(self.path.clone());
        let rest = sealed.strip_prefix(MAGIC).ok_or_else(malformed)?;
        let (nonce, text) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(malformed)?;
        let payload = Payload {
            msg: text,
            aad: MAGIC,
        };
        let opened = cipher(&key)
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| SecretError::WrongKey(self.path.clone()))?;
        // serde's own words would quote the text.
        serde_json::from_slice(&Zeroizing::new(opened)).map_err(|_| malformed())
    }

    /// Seals `secrets` with a nonce of its own. The file appears whole or not at all; its key is made where
    /// there is none.
    pub fn seal(&self, secrets: &BTreeMap<String, String>) -> Result<(), SecretError> {
        let key = match self.key() {
            Err(SecretError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                self.make_key()?;
                self.key()?
            }
            found => found?,
        };
        let malformed = |_| SecretError::Malformed(self.path.clone());
        let text = Zeroizing::new(serde_json::to_vec(secrets).map_err(malformed)?);
        let nonce: [u8; NONCE_BYTES] = rand::rng().random();
        let payload = Payload {
            msg: &text,
            aad: MAGIC,
        };
        let sealed = cipher(&key)
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SecretError::Malformed(self.path.clone()))?;
        let whole = [MAGIC, &nonce, &sealed].concat();
        let draft = draft(&self.path);
        create(&draft, &whole)
            .and_then(|()| fs::rename(&draft, &self.path))
            .map_err(|source| unusable(&self.path, source))
    }

    fn key(&self) -> Result<Zeroizing<[u8; KEY_BYTES]>, SecretError> {
        let text = Zeroizing::new(private(&self.key)?);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        hex::decode_to_slice(text.trim_ascii(), &mut *key)
            .map_err(|_| SecretError::Malformed(self.key.clone()))?;
        Ok(key)
    }

    /// Makes a key; one that appeared meanwhile stays.
    fn make_key(&self) -> Result<(), SecretError> {
        let key: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(rand::rng().random());
        let text = Zeroizing::new(hex::encode(*key));
        let draft = draft(&self.key);
        let linked =
            create(&draft, text.as_bytes()).and_then(|()| match fs::hard_link(&draft, &self.key) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            });
        // The draft has served its purpose either way.
        let _ = fs::remove_file(&draft);
        linked.map_err(|source| unusable(&self.key, source))
    }
}

fn cipher(key: &[u8; KEY_BYTES]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&(*key).into())
}

fn unusable(path: &Path, source: io::Error) -> SecretError {
    SecretError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

fn draft(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".draft-{:016x}", rand::rng().random::<u64>()));
    name.into()
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The bytes of a file that is its owner's alone.
fn private(path: &Path) -> Result<Vec<u8>, SecretError> {
    let mut file = File::open(path).map_err(|source| unusable(path, source))?;
    // Ask the open file, not the name: the name may point elsewhere by now.
    let metadata = file.metadata().map_err(|source| unusable(path, source))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|source| unusable(path, source))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn secrets() -> BTreeMap<String, String> {
        [("webhook/pagerduty".to_owned(), "hunter2".to_owned())].into()
    }

    #[test]
    fn what_was_sealed_opens_again_and_is_not_in_the_file() {
        let dir = TempDir::new().unwrap();
        let file = SealedFile::at(dir.path().join("secrets.sealed"));

        file.seal(&secrets()).unwrap();

        assert_eq!(file.open().unwrap(), secrets());
        let bytes = fs::read(file.path()).unwrap();
        for text in ["hunter2", "pagerduty", &hex::encode("hunter2")] {
            let found = bytes.windows(text.len()).any(|at| at == text.as_bytes());
            assert!(!found, "{text}");
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(file.path()), 0o600);
        assert_eq!(mode(&key_path(file.path())), 0o600);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "no draft is left"
        );
    }

    #[test]
    fn the_same_secrets_are_never_sealed_to_the_same_bytes() {
        let dir = TempDir::new().unwrap();
        let file = SealedFile::at(dir.path().join("s"));
        file.seal(&secrets()).unwrap();
        let first = fs::read(file.path()).unwrap();
        file.seal(&secrets()).unwrap();
        assert_ne!(fs::read(file.path()).unwrap(), first);
    }

    #[test]
    fn one_changed_bit_anywhere_and_any_other_key_is_refused() {
        let dir = TempDir::new().unwrap();
        let file = SealedFile::at(dir.path().join("s"));
        file.seal(&secrets()).unwrap();
        let whole = fs::read(file.path()).unwrap();
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(file.path(), &changed).unwrap();
            assert!(file.open().is_err(), "byte {place}");
        }
        fs::write(file.path(), &whole).unwrap();
        fs::write(key_path(file.path()), "00".repeat(32)).unwrap();
        assert!(matches!(file.open(), Err(SecretError::WrongKey(_))));
    }

    #[test]
    fn a_file_in_plain_text_and_one_that_others_may_read_are_refused() {
        let dir = TempDir::new().unwrap();
        let file = SealedFile::at(dir.path().join("s"));
        file.seal(&secrets()).unwrap();
        for path in [file.path().to_owned(), key_path(file.path())] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(file.open(), Err(SecretError::Exposed { .. })));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(file.path(), r#"{"a":"hunter2"}"#).unwrap();
        let error = file.open().unwrap_err();
        assert!(matches!(error, SecretError::Malformed(_)));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn many_that_begin_at_once_agree_on_one_key() {
        let dir = TempDir::new().unwrap();
        let file = SealedFile::at(dir.path().join("s"));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| file.seal(&secrets()).unwrap());
            }
        });
        assert_eq!(file.open().unwrap(), secrets());
    }
}
