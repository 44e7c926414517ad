//! Who signs run tokens. The key stays with its keeper: a file here, a key service in the cloud.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::BoxFuture;
use p256::{
    ecdsa::{Signature, SigningKey, VerifyingKey, signature::Signer as _},
    elliptic_curve::rand_core::OsRng,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Signs with one P-256 key.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The key's name in token headers and in the published key set.
    fn kid(&self) -> &str;

    /// The ES256 signature of `message`: r and s, 32 bytes each.
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; 64], SignError>>;

    /// Every key that verifiers should know: this one, and those whose tokens still live.
    fn published(&self) -> Vec<PublicKey>;
}

/// The key's keeper did not sign.
#[derive(Debug, thiserror::Error)]
#[error("the signing key could not be used")]
pub struct SignError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A key that verifies run tokens, as a JSON Web Key (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicKey {
    kty: &'static str,
    crv: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    /// The RFC 7638 thumbprint of the key.
    pub kid: String,
    x: String,
    y: String,
}

/// A key that this process holds (PKCS #8 PEM, from a file or a secret), and the public half of the one
/// before it while tokens of it still live.
pub struct HeldSigner {
    key: SigningKey,
    public: PublicKey,
    previous: Option<PublicKey>,
}

/// The key file is of no use. Never shows the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("{} is open to others; run `chmod 600` on it", .0.display())]
    Exposed(PathBuf),
    /// It holds no P-256 private key in PKCS #8 PEM.
    #[error("{} holds no P-256 private key in PKCS #8 PEM", .0.display())]
    Malformed(PathBuf),
}

/// The text is no P-256 private key in PKCS #8 PEM. Never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no P-256 private key in PKCS #8 PEM")]
pub struct NotAKey;

impl HeldSigner {
    /// Uses the key at `path`, which is made if it is absent. `previous` is the key that was in use
    /// before, whose public half stays published.
    pub fn open(path: &Path, previous: Option<&Path>) -> Result<Self, KeyFileError> {
        let key = match read(path) {
            Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create(path)?;
                read(path)?
            }
            other => other?,
        };
        let previous = previous.map(read).transpose()?;
        Ok(Self::of(key, previous.as_ref()))
    }

    /// Uses the key in a text. `previous` is the text of the key that was in use before, whose public
    /// half stays published.
    pub fn from_pem(text: &SecretString, previous: Option<&SecretString>) -> Result<Self, NotAKey> {
        let parse = |text: &SecretString| {
            SigningKey::from_pkcs8_pem(text.expose_secret()).map_err(|_| NotAKey)
        };
        let previous = previous.map(parse).transpose()?;
        Ok(Self::of(parse(text)?, previous.as_ref()))
    }

    fn of(key: SigningKey, previous: Option<&SigningKey>) -> Self {
        Self {
            public: PublicKey::of(key.verifying_key()),
            previous: previous.map(|key| PublicKey::of(key.verifying_key())),
            key,
        }
    }
}

impl Signer for HeldSigner {
    fn kid(&self) -> &str {
        &self.public.kid
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; 64], SignError>> {
        Box::pin(async move {
            let signature: Signature = self
                .key
                .try_sign(message)
                .map_err(|error| SignError(error.into()))?;
            Ok(signature.to_bytes().into())
        })
    }

    fn published(&self) -> Vec<PublicKey> {
        let mut keys = vec![self.public.clone()];
        keys.extend(
            self.previous
                .clone()
                .filter(|previous| previous.kid != self.public.kid),
        );
        keys
    }
}

impl fmt::Debug for HeldSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldSigner")
            .field("kid", &self.public.kid)
            .finish_non_exhaustive()
    }
}

impl PublicKey {
    fn of(key: &VerifyingKey) -> Self {
        let point = key.to_encoded_point(false);
        let encode = |coordinate: Option<&p256::FieldBytes>| {
            URL_SAFE_NO_PAD.encode(coordinate.map(|bytes| &bytes[..]).unwrap_or_default())
        };
        let (x, y) = (encode(point.x()), encode(point.y()));
        // RFC 7638: the required members in the order of the alphabet, without spaces.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(canonical));
        Self {
            kty: "EC",
            crv: "P-256",
            usage: "sig",
            alg: "ES256",
            kid,
            x,
            y,
        }
    }
}

fn read(path: &Path) -> Result<SigningKey, KeyFileError> {
    let unusable = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unusable)?;
    let mode = file.metadata().map_err(unusable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(unusable)?;
    SigningKey::from_pkcs8_pem(&text).map_err(|_| KeyFileError::Malformed(path.to_owned()))
}

/// Makes a key. The file appears whole or not at all, and one that appeared meanwhile stays.
fn create(path: &Path) -> Result<(), KeyFileError> {
    let unusable = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let text = SigningKey::random(&mut OsRng)
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|_| KeyFileError::Malformed(path.to_owned()))?;
    let draft = path.with_extension(format!("draft-{}", uuid::Uuid::new_v4().simple()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    })();
    // The draft has served its purpose either way.
    let _ = fs::remove_file(&draft);
    written.map_err(unusable)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_found_again() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("signing.pem");

        let made = HeldSigner::open(&path, None).unwrap();
        let found = HeldSigner::open(&path, None).unwrap();

        assert_eq!(made.kid(), found.kid());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn a_key_in_a_secret_is_the_same_key_and_what_is_no_key_is_not_shown() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("signing.pem");
        let made = HeldSigner::open(&path, None).unwrap();
        let text = SecretString::from(fs::read_to_string(&path).unwrap());

        let held = HeldSigner::from_pem(&text, Some(&text)).unwrap();

        assert_eq!(held.kid(), made.kid());
        assert_eq!(held.published().len(), 1);
        let error = HeldSigner::from_pem(&"hunter2".into(), None).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn many_that_start_at_once_agree_on_one_key() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("signing.pem");
        let kids: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
            let open = || HeldSigner::open(&path, None).unwrap().kid().to_owned();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(kids.len(), 1);
    }

    #[test]
    fn a_rotation_publishes_both_keys_and_the_same_key_twice_is_one() {
        let dir = TempDir::new().unwrap();
        let (old, new) = (dir.path().join("old.pem"), dir.path().join("new.pem"));
        let before = HeldSigner::open(&old, None).unwrap();
        let after = HeldSigner::open(&new, Some(&old)).unwrap();

        let kids: Vec<String> = after.published().into_iter().map(|key| key.kid).collect();
        assert_eq!(kids, [after.kid(), before.kid()]);
        assert_eq!(
            HeldSigner::open(&new, Some(&new))
                .unwrap()
                .published()
                .len(),
            1
        );
    }

    #[test]
    fn a_key_that_others_may_read_and_a_file_that_is_no_key_are_refused() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("signing.pem");
        HeldSigner::open(&path, None).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            HeldSigner::open(&path, None),
            Err(KeyFileError::Exposed(_))
        ));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(
            HeldSigner::open(&path, None),
            Err(KeyFileError::Malformed(_))
        ));
    }

    #[test]
    fn the_name_of_a_key_is_its_rfc_7638_thumbprint() {
        // Computed apart from this code, with openssl and Python's hashlib.
        let point = concat!(
            "041bc9677d97448c9728e2ae5a1b5d046b3df8810e66d40bf7563903339c4c27dd",
            "6f9bb2a59cbc71be5bc1ffbeab5b68fcd931efe8a4ceb111724b85c41ac05482"
        );
        let key = VerifyingKey::from_sec1_bytes(&hex::decode(point).unwrap()).unwrap();
        assert_eq!(
            PublicKey::of(&key).kid,
            "Y637VXeWulZs3pkV53KVI6jvBxWDJ6pRAPulrPtEal4"
        );
    }
}
