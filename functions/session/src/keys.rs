//! The keys that sign run tokens: at most two, one of them signing, and when the other one does.
//!
//! ```text
//!                 announced            begins            begins + OVERLAP
//! old key   ───signs──┼───────signs───────┤ published, signs no more ├
//! new key             ├─published, silent─┼───────────signs──────────────
//! ```
//!
//! The hour at which a key begins is written down beside it, so every instance of this function decides
//! alike without a word between them. Between announcement and beginning, every instance and every
//! verifier meets the new key; the old one stays until the last token that it signed has ended. The
//! diagram's overlap is that of tokens that live as long as any may.

mod document;
mod file;
mod rotation;
mod set;

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use nightshift_lambda::{Kms, SecretError, Secrets};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tokio::{sync::Mutex, time::Instant};
use zeroize::Zeroizing;

use self::{
    document::{Document, Keeper},
    set::Scheduled,
};
use crate::signer::{HeldSigner, KmsKeyError, KmsSigner, NotAKey, Signer};

pub use document::BadDocument;
pub use file::KeyFileError;
pub use rotation::{DEFAULT_LEAD, NextKey, RotateError, Rotated, rotate};
pub use set::{BadKeySet, KeySet, OVERLAP, Signing};

/// Where the set of signing keys is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningKey {
    /// In a file of this machine; made with one key if it is absent.
    File(PathBuf),
    /// In a secret, by reference.
    Secret(String),
}

/// The set of signing keys, read again now and then.
pub struct SigningKeys {
    place: SigningKey,
    secrets: Arc<dyn Secrets>,
    kms: Option<Arc<Kms>>,
    set: RwLock<Arc<KeySet>>,
    looked: Mutex<Looked>,
}

struct Looked {
    again_at: Instant,
    digest: [u8; 32],
}

/// The set of signing keys cannot be used. Never shows a key.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It is not written as it should be.
    #[error("the set of signing keys cannot be read")]
    Document(#[from] BadDocument),
    /// A key in it is none.
    #[error("the set of signing keys holds what is no key")]
    Key(#[from] NotAKey),
    /// A key in KMS cannot be used.
    #[error(transparent)]
    Kms(#[from] KmsKeyError),
    /// It names a key in KMS, and there is no KMS.
    #[error("the set of signing keys names a key in KMS, which cannot be reached from here")]
    NoKms,
    /// The keys in it do not make a set.
    #[error(transparent)]
    Set(#[from] BadKeySet),
}

impl SigningKey {
    /// How often to look whether the set has changed. Secrets are kept for a minute anyway.
    const fn look_every(&self) -> Duration {
        match self {
            Self::File(_) => Duration::from_secs(1),
            Self::Secret(_) => Duration::from_mins(1),
        }
    }
}

/// How long to leave a place alone that could not be read.
const LOOK_AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(10);

impl SigningKeys {
    /// Reads the set for the first time.
    ///
    /// # Errors
    /// Where it cannot be used. Later a set that cannot be used leaves the last one in force.
    pub async fn open(
        place: SigningKey,
        secrets: Arc<dyn Secrets>,
        kms: Option<Arc<Kms>>,
    ) -> Result<Self, KeysError> {
        let text = match &place {
            SigningKey::File(path) => file::read_or_create(path)?,
            SigningKey::Secret(reference) => secret(&*secrets, reference).await?,
        };
        let looked = Looked {
            again_at: Instant::now() + place.look_every(),
            digest: Sha256::digest(text.as_bytes()).into(),
        };
        let set = read(&text, kms.as_ref()).await?;
        Ok(Self {
            place,
            secrets,
            kms,
            set: RwLock::new(Arc::new(set)),
            looked: Mutex::new(looked),
        })
    }

    /// The set as it is written down now, or was a moment ago.
    pub async fn current(&self) -> Arc<KeySet> {
        // One request looks; the others go on with what there is.
        if let Ok(mut looked) = self.looked.try_lock()
            && looked.again_at <= Instant::now()
        {
            let wait = match self.look(&mut looked).await {
                Ok(()) => self.place.look_every(),
                Err(error) => {
                    let error = nightshift_engine::causes(&error);
                    tracing::error!(
                        error,
                        "Could not read the signing keys, going on with the last"
                    );
                    LOOK_AGAIN_AFTER_FAILURE
                }
            };
            looked.again_at = Instant::now() + wait;
        }
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&set)
    }

    async fn look(&self, looked: &mut Looked) -> Result<(), KeysError> {
        let text = match &self.place {
            SigningKey::File(path) => file::read(path)?,
            SigningKey::Secret(reference) => secret(&*self.secrets, reference).await?,
        };
        let digest = Sha256::digest(text.as_bytes()).into();
        if digest == looked.digest {
            return Ok(());
        }
        let set = read(&text, self.kms.as_ref()).await?;
        tracing::info!(keys = %set, "The set of signing keys has changed");
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        looked.digest = digest;
        Ok(())
    }
}

async fn secret(secrets: &dyn Secrets, reference: &str) -> Result<Zeroizing<String>, SecretError> {
    let secret = secrets.read(reference).await?;
    Ok(Zeroizing::new(secret.expose_secret().to_owned()))
}

async fn read(text: &str, kms: Option<&Arc<Kms>>) -> Result<KeySet, KeysError> {
    let mut keys = Vec::new();
    for entry in Document::parse(text)?.keys {
        let signer: Arc<dyn Signer> = match entry.keeper()? {
            Keeper::Pem(pem) => Arc::new(HeldSigner::from_pem(pem)?),
            Keeper::Kms(key) => {
                let kms = kms.ok_or(KeysError::NoKms)?;
                Arc::new(KmsSigner::open(Arc::clone(kms), key).await?)
            }
        };
        keys.push(Scheduled {
            begins_at: entry.begins_at,
            life: entry.life()?,
            signer,
        });
    }
    Ok(KeySet::of(keys)?)
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
