//! Tenants' credentials on one machine: a sealed file for each tenant, with a key for each.
//!
//! The [`MasterKey`] stays with whoever runs the machine, who derives one [`TenantKey`] for each tenant and gives
//! a process those of the tenants that it serves. A file without its key is nothing, and a key opens the
//! files of its tenant alone: control `tenant-vault`.

mod key;
mod vault;

use std::{fmt, path::PathBuf};

use crate::{Code, Credential, CredentialName, Pending, Reader, SecretError, Secrets};

pub use key::{MasterKey, TenantKey, TenantKeys, TenantKeysError};
pub use vault::{Vault, VaultError};

/// Reads the vaults of the tenants whose keys this process was given.
pub struct LocalSecrets {
    folder: PathBuf,
    keys: TenantKeys,
}

impl LocalSecrets {
    /// Reads the vaults in `folder` that `keys` open.
    #[must_use]
    pub const fn new(folder: PathBuf, keys: TenantKeys) -> Self {
        Self { folder, keys }
    }

    async fn open(&self, reader: Reader, name: &CredentialName) -> Result<Credential, SecretError> {
        let key = self.keys.of(reader.tenant);
        let key = key
            .ok_or_else(|| SecretError::Refused(Code::of("NoKey")))?
            .clone();
        let vault = Vault::of(&self.folder, reader.tenant);
        let name = name.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let mut credentials = vault.open(&key)?;
            Ok(credentials.remove(&name))
        });
        match opened.await {
            Ok(Ok(Some(text))) => Ok(Credential::new(text)),
            Ok(Ok(None) | Err(VaultError::Missing)) => Err(SecretError::Unknown),
            Ok(Err(VaultError::Unusable(_))) | Err(_) => {
                Err(SecretError::Unavailable(Code::of("Unreadable")))
            }
            Ok(Err(VaultError::Exposed)) => Err(SecretError::Refused(Code::of("Exposed"))),
            Ok(Err(VaultError::Damaged)) => Err(SecretError::Damaged),
        }
    }
}

impl Secrets for LocalSecrets {
    fn read<'a>(
        &'a self,
        reader: Reader,
        name: &'a CredentialName,
    ) -> Pending<'a, Result<Credential, SecretError>> {
        Box::pin(self.open(reader, name))
    }
}

impl fmt::Debug for LocalSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSecrets")
            .field("folder", &self.folder)
            .field("keys", &self.keys)
            .finish()
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
