//! One tenant's sealed file.
//!
//! Layout: [`MAGIC`], 24 bytes of nonce, XChaCha20-Poly1305 of a JSON object of texts. What stands in front and
//! the tenant are authenticated with it, so one tenant's file cannot stand in for another's.

use nightshift_controls::{Control, holds};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use nightshift_domain::TenantId;
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::TenantKey;
use crate::CredentialName;

const MAGIC: &[u8] = b"nightshift tenant vault 1\n";
const NONCE_BYTES: usize = 24;
/// The largest vault that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// One tenant's sealed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    path: PathBuf,
    tenant: TenantId,
}

/// A vault could not be opened or sealed. Never shows what is in it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is none.
    #[error("there is no vault")]
    Missing,
    /// Others than its owner may read it.
    #[error("the vault is open to others; run `chmod 600` on it")]
    Exposed,
    /// It was changed, or sealed with another key or for another tenant.
    #[error("the vault does not open with this key")]
    Damaged,
    /// The file cannot be read or written.
    #[error("the vault cannot be used")]
    Unusable(#[source] io::Error),
}

impl Vault {
    /// The vault of a tenant in a folder.
    #[must_use]
    pub fn of(folder: &Path, tenant: TenantId) -> Self {
        Self {
            path: folder.join(format!("{tenant}.sealed")),
            tenant,
        }
    }

    /// Every credential in it.
    pub fn open(
        &self,
        key: &TenantKey,
    ) -> Result<BTreeMap<CredentialName, SecretString>, VaultError> {
        let sealed = self.bytes()?;
        let rest = sealed.strip_prefix(MAGIC).ok_or(VaultError::Damaged)?;
        let (nonce, text) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(VaultError::Damaged)?;
        let payload = Payload {
            msg: text,
            aad: &self.authenticated(),
        };
        let opened = cipher(key)
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| VaultError::Damaged)?;
        // serde's own words would quote the text.
        let texts: BTreeMap<CredentialName, String> =
            serde_json::from_slice(&Zeroizing::new(opened)).map_err(|_| VaultError::Damaged)?;
        Ok(texts
            .into_iter()
            .map(|(name, text)| (name, text.into()))
            .collect())
    }

    /// Replaces what is in it. The file appears whole or not at all.
    pub fn seal(
        &self,
        key: &TenantKey,
        credentials: &BTreeMap<CredentialName, SecretString>,
    ) -> Result<(), VaultError> {
        let shown: BTreeMap<&str, &str> = credentials
            .iter()
            .map(|(name, text)| (name.as_str(), text.expose_secret()))
            .collect();
        let text = serde_json::to_vec(&shown).map_err(|_| VaultError::Damaged)?;
        let text = Zeroizing::new(text);
        let nonce: [u8; NONCE_BYTES] = rand::rng().random();
        let payload = Payload {
            msg: &text,
            aad: &self.authenticated(),
        };
        let sealed = cipher(key)
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| VaultError::Damaged)?;
        self.replace(&[MAGIC, &nonce, &sealed].concat())
            .map_err(VaultError::Unusable)
    }

    fn authenticated(&self) -> Vec<u8> {
        if !holds(Control::TenantVault) {
            return MAGIC.to_vec();
        }
        [MAGIC, self.tenant.as_uuid().as_bytes()].concat()
    }

    fn bytes(&self) -> Result<Vec<u8>, VaultError> {
        let file = File::open(&self.path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                VaultError::Missing
            } else {
                VaultError::Unusable(error)
            }
        })?;
        // Ask the open file, not the name: the name may point elsewhere by now.
        let metadata = file.metadata().map_err(VaultError::Unusable)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(VaultError::Exposed);
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(VaultError::Unusable)?;
        Ok(bytes)
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let draft = self
            .path
            .with_extension(format!("draft-{:016x}", rand::rng().random::<u64>()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)
    }
}

fn cipher(key: &TenantKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&(*key.bytes()).into())
}
