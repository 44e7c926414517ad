//! Tenants' credentials: what a server shows to a customer's own systems.
//!
//! A credential is read for one live run of one tenant and never leaves the process that read it. Where it is
//! kept, a sealed file on one machine or AWS Secrets Manager, decides which tenants a process can reach at
//! all; the [`Cached`] in front of it forgets within a minute, and at once when the run ends.

pub mod aws;
mod cache;
mod credential;
mod local;
mod name;

pub use cache::{Cached, MAX_AGE};
pub use credential::Credential;
pub use local::{
    LocalSecrets, MasterKey, TenantKey, TenantKeys, TenantKeysError, Vault, VaultError,
};
pub use name::{BadName, CredentialName};

use std::{fmt, pin::Pin, sync::Arc};

use nightshift_domain::{Epoch, InvestigationId, TenantId};

/// A future behind a pointer, so that a keeper can be held as an object.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// For whom a credential is read. Make one only of a run that was verified to be live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reader {
    /// Whose credential.
    pub tenant: TenantId,
    /// For which run.
    pub run: InvestigationId,
    /// For which start of it.
    pub epoch: Epoch,
}

/// Keeps tenants' credentials.
pub trait Secrets: fmt::Debug + Send + Sync {
    /// The credential that the reader's tenant has under this name.
    fn read<'a>(
        &'a self,
        reader: Reader,
        name: &'a CredentialName,
    ) -> Pending<'a, Result<Credential, SecretError>>;
}

impl<S: Secrets + ?Sized> Secrets for Arc<S> {
    fn read<'a>(
        &'a self,
        reader: Reader,
        name: &'a CredentialName,
    ) -> Pending<'a, Result<Credential, SecretError>> {
        (**self).read(reader, name)
    }
}

/// A credential could not be had. Never shows one, nor what a keeper answered beyond its code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// This tenant has no credential of that name.
    #[error("there is no credential of that name")]
    Unknown,
    /// This process may not have it: somebody has to look.
    #[error("the credential was refused ({0})")]
    Refused(Code),
    /// The keeper did not answer; ask again later.
    #[error("the keeper of credentials did not answer ({0})")]
    Unavailable(Code),
    /// What is kept cannot be read: it was changed, or sealed for somebody else.
    #[error("the kept credential cannot be read")]
    Damaged,
}

/// Why, in one word of letters, digits and points: nothing that a stranger wrote passes through it.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// The word, or `unreadable` where it is none.
    #[must_use]
    pub fn of(word: &str) -> Self {
        let plain = !word.is_empty()
            && word.len() <= 64
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        Self(if plain { word } else { "unreadable" }.to_owned())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
