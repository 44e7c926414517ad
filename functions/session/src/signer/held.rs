//! A signing key that this process holds: for one machine, where no key service is.

use std::fmt;

use futures_util::future::BoxFuture;
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer as _},
    elliptic_curve::rand_core::OsRng,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
};
use zeroize::Zeroizing;

use super::{PublicKey, SignError, Signer};

/// A key that this process holds, from its PKCS #8 PEM.
pub struct HeldSigner {
    key: SigningKey,
    public: PublicKey,
}

/// The text is no P-256 private key in PKCS #8 PEM. Never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no P-256 private key in PKCS #8 PEM")]
pub struct NotAKey;

impl HeldSigner {
    /// Uses the key in a text.
    pub fn from_pem(text: &str) -> Result<Self, NotAKey> {
        let key = SigningKey::from_pkcs8_pem(text).map_err(|_| NotAKey)?;
        Ok(Self {
            public: PublicKey::of(key.verifying_key()),
            key,
        })
    }

    /// The text of a new key.
    pub fn new_pem() -> Result<Zeroizing<String>, NotAKey> {
        SigningKey::random(&mut OsRng)
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_| NotAKey)
    }
}

impl Signer for HeldSigner {
    fn public(&self) -> &PublicKey {
        &self.public
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
}

impl fmt::Debug for HeldSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldSigner")
            .field("kid", &self.public.kid)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_not_shown_and_neither_is_what_is_one() {
        let error = HeldSigner::from_pem("hunter2").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        let pem = HeldSigner::new_pem().unwrap();
        let held = HeldSigner::from_pem(&pem).unwrap();
        let secret = pem.lines().nth(1).unwrap();
        assert!(!format!("{held:?}").contains(secret));
    }
}
