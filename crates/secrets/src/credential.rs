//! A credential in memory.

use nightshift_controls::{Control, holds};
use std::{fmt, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

/// A credential in memory. It is wiped when nobody holds it any more, is not shown by `Debug`, and has no form
/// in which it could be written down.
#[derive(Clone)]
pub struct Credential(Arc<SecretString>);

impl Credential {
    /// Takes a text over.
    #[must_use]
    pub fn new(text: SecretString) -> Self {
        Self(Arc::new(text))
    }

    /// The text, for the header that carries it to its host. Mark that header as sensitive.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    #[cfg(test)]
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !holds(Control::CredentialHidden) {
            return f.write_str(self.expose());
        }
        f.write_str("Credential(..)")
    }
}
