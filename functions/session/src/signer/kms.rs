//! A signing key that AWS KMS holds: it signs digests and never shows the key.
//!
//! KMS signs in DER; JOSE wants r and s, 32 bytes each. Every signature is verified before it is used:
//! an alias that was pointed at another key must not put tokens into the world that nobody accepts.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use nightshift_lambda::{Kms, kms::KmsError};
use p256::{
    ecdsa::{Signature, VerifyingKey, signature::hazmat::PrehashVerifier},
    pkcs8::DecodePublicKey,
};
use sha2::{Digest, Sha256};

use super::{PublicKey, SignError, Signer};

/// A key in AWS KMS.
#[derive(Debug)]
pub struct KmsSigner {
    kms: Arc<Kms>,
    key: String,
    verifying: VerifyingKey,
    public: PublicKey,
}

/// A key in KMS is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KmsKeyError {
    /// KMS does not tell its public half.
    #[error("the public half of {key} could not be had")]
    Refused {
        /// The key.
        key: String,
        /// Why.
        source: KmsError,
    },
    /// It is no P-256 key.
    #[error("{0} is no P-256 key")]
    NotP256(String),
}

/// What KMS answered is no signature of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum BadSignature {
    #[error("the answer is no ECDSA signature in DER")]
    NotDer,
    #[error("the signature is by another key")]
    OtherKey,
}

impl KmsSigner {
    /// Uses the key of this id, ARN or alias; asks for its public half.
    pub async fn open(kms: Arc<Kms>, key: &str) -> Result<Self, KmsKeyError> {
        let spki = kms
            .public_key(key)
            .await
            .map_err(|source| KmsKeyError::Refused {
                key: key.to_owned(),
                source,
            })?;
        let verifying = VerifyingKey::from_public_key_der(&spki)
            .map_err(|_| KmsKeyError::NotP256(key.to_owned()))?;
        Ok(Self {
            kms,
            key: key.to_owned(),
            public: PublicKey::of(&verifying),
            verifying,
        })
    }

    async fn sign_message(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let digest: [u8; 32] = Sha256::digest(message).into();
        let der = self
            .kms
            .sign_digest(&self.key, &digest)
            .await
            .map_err(|error| SignError(error.into()))?;
        let signature =
            Signature::from_der(&der).map_err(|_| SignError(BadSignature::NotDer.into()))?;
        self.verifying
            .verify_prehash(&digest, &signature)
            .map_err(|_| SignError(BadSignature::OtherKey.into()))?;
        Ok(signature.to_bytes().into())
    }
}

impl Signer for KmsSigner {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; 64], SignError>> {
        Box::pin(self.sign_message(message))
    }
}
