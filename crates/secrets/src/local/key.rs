//! The keys of the vaults.

use nightshift_controls::{Control, holds};
use std::{collections::BTreeMap, fmt, str::FromStr};

use hmac::{Hmac, Mac};
use nightshift_domain::TenantId;
use rand::Rng;
use sha2::Sha256;
use zeroize::Zeroizing;

const BYTES: usize = 32;
/// What the master key is used for, in front of the tenant.
const PURPOSE: &[u8] = b"nightshift tenant vault key 1\0";

/// The key that all tenants' keys are derived from. Never given to a server.
pub struct MasterKey(Zeroizing<[u8; BYTES]>);

/// The key of one tenant's vault. It tells nothing of the master key or of other tenants' keys.
#[derive(Clone)]
pub struct TenantKey(Zeroizing<[u8; BYTES]>);

/// The keys that a process was given.
#[derive(Clone, Default)]
pub struct TenantKeys(BTreeMap<TenantId, TenantKey>);

/// The text holds no keys. Never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected TENANT=KEY with commas between, each key of 64 hexadecimal digits, each tenant once"
)]
pub struct TenantKeysError;

impl MasterKey {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(Zeroizing::new(rand::rng().random()))
    }

    /// The one that was written in hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, TenantKeysError> {
        decode(text).map(Self)
    }

    /// The key of a tenant's vault.
    #[must_use]
    pub fn derive(&self, tenant: TenantId) -> TenantKey {
        let mut block = [0; 64];
        block[..BYTES].copy_from_slice(&*self.0);
        // A key of the block's length is taken as it is, so this cannot fail.
        let mut mac = Hmac::<Sha256>::new(&block.into());
        zeroize::Zeroize::zeroize(&mut block);
        mac.update(PURPOSE);
        if holds(Control::TenantVault) {
            mac.update(tenant.as_uuid().as_bytes());
        }
        TenantKey(Zeroizing::new(mac.finalize().into_bytes().into()))
    }
}

impl TenantKey {
    pub(crate) fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// The key in hexadecimal digits, to be given to a process that serves its tenant.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(*self.0))
    }
}

impl TenantKeys {
    /// Adds a tenant's key.
    #[must_use]
    pub fn with(mut self, tenant: TenantId, key: TenantKey) -> Self {
        self.0.insert(tenant, key);
        self
    }

    pub(crate) fn of(&self, tenant: TenantId) -> Option<&TenantKey> {
        self.0.get(&tenant)
    }

    /// All of them as [`FromStr`] reads them.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let pairs = self
            .0
            .iter()
            .map(|(tenant, key)| format!("{tenant}={}", *key.to_hex()));
        Zeroizing::new(pairs.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for TenantKeys {
    type Err = TenantKeysError;

    fn from_str(text: &str) -> Result<Self, TenantKeysError> {
        let mut keys = BTreeMap::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (tenant, key) = pair.split_once('=').ok_or(TenantKeysError)?;
            let tenant: TenantId = tenant.parse().map_err(|_| TenantKeysError)?;
            if keys.insert(tenant, TenantKey(decode(key)?)).is_some() {
                return Err(TenantKeysError);
            }
        }
        Ok(Self(keys))
    }
}

fn decode(text: &str) -> Result<Zeroizing<[u8; BYTES]>, TenantKeysError> {
    let mut key = Zeroizing::new([0; BYTES]);
    hex::decode_to_slice(text.trim(), &mut *key).map_err(|_| TenantKeysError)?;
    Ok(key)
}

macro_rules! hidden {
    ($($key:ident),*) => {$(
        impl fmt::Debug for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($key), "(..)"))
            }
        }
    )*};
}
hidden!(MasterKey, TenantKey);

impl fmt::Debug for TenantKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
