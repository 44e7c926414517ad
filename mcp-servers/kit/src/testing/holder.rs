//! Holds the key that test tokens are bound to, and proves it, well or badly.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use nightshift_protocol::proof::{PROOF_TYPE, ProofClaims, ProofJwk};
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer},
    elliptic_curve::rand_core::{OsRng, RngCore},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::unsigned;
use crate::{Clock, SystemClock};

/// Holds a key pair, as a supervisor does.
#[derive(Clone)]
pub struct Holder {
    key: SigningKey,
}

impl Default for Holder {
    /// The holder that test tokens are bound to, always the same one.
    fn default() -> Self {
        let key = SigningKey::from_slice(&[7; 32]).expect("any small number is a private key");
        Self { key }
    }
}

impl Holder {
    /// Somebody else.
    #[must_use]
    pub fn stranger() -> Self {
        Self {
            key: SigningKey::random(&mut OsRng),
        }
    }

    /// The public half.
    #[must_use]
    pub fn jwk(&self) -> ProofJwk {
        let point = self.key.verifying_key().to_encoded_point(false);
        let (x, y) = (point.x().expect("has one"), point.y().expect("has one"));
        ProofJwk::p256(URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
    }

    /// The private half, for the test that it is not accepted anywhere.
    #[must_use]
    pub fn private(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.to_bytes())
    }

    /// RFC 7638 thumbprint of the public half.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.jwk().canonical()))
    }

    /// The header of a good proof.
    #[must_use]
    pub fn header(&self) -> Value {
        json!({ "typ": PROOF_TYPE, "alg": "ES256", "jwk": self.jwk() })
    }

    /// A good proof for one request with this token.
    #[must_use]
    pub fn prove(&self, method: &str, url: &str, token: &str) -> HeaderValue {
        let claims = proof_claims(method, url, token);
        let claims = serde_json::to_value(claims).expect("claims have a JSON form");
        self.prove_as(&self.header(), &claims)
    }

    /// A proof with any header and any claims, signed with the key as ES256.
    #[must_use]
    pub fn prove_as(&self, header: &Value, claims: &Value) -> HeaderValue {
        let message = unsigned(header, claims);
        let signature: Signature = self.key.sign(message.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.to_bytes());
        HeaderValue::try_from(format!("{message}.{signature}")).expect("a proof is ASCII")
    }
}

/// The claims of a good proof.
#[must_use]
pub fn proof_claims(method: &str, url: &str, token: &str) -> ProofClaims {
    let mut identity = [0; 16];
    OsRng.fill_bytes(&mut identity);
    ProofClaims {
        jti: URL_SAFE_NO_PAD.encode(identity),
        htm: method.to_owned(),
        htu: url.to_owned(),
        iat: SystemClock.now().timestamp(),
        ath: URL_SAFE_NO_PAD.encode(Sha256::digest(token)),
    }
}

impl std::fmt::Debug for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holder")
            .field("thumbprint", &self.thumbprint())
            .finish_non_exhaustive()
    }
}
