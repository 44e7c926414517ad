//! Who signs run tokens. The key stays with its keeper: this process here, a key service in the cloud.

mod held;
mod kms;

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::BoxFuture;
use p256::ecdsa::VerifyingKey;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use held::{HeldSigner, NotAKey};
pub use kms::{KmsKeyError, KmsSigner};

/// Signs with one P-256 key.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The key's public half.
    fn public(&self) -> &PublicKey;

    /// The ES256 signature of `message`: r and s, 32 bytes each.
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; 64], SignError>>;
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
    /// The RFC 7638 thumbprint of the key: its name in token headers and in the published set.
    pub kid: String,
    x: String,
    y: String,
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

#[cfg(test)]
mod tests {
    use super::*;

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
