//! Proof of possession (RFC 9449, DPoP): what the holder of a run token signs for each request, so
//! that the token alone is worth nothing.
//!
//! A request carries `Authorization: DPoP TOKEN` and `DPoP: PROOF`. The proof is a JWT, ES256, by
//! the key pair whose thumbprint the token's `cnf.jkt` names.

use serde::{Deserialize, Serialize};

/// The header type of a proof.
pub const PROOF_TYPE: &str = "dpop+jwt";

/// The only algorithm of a proof.
pub const PROOF_ALGORITHM: &str = "ES256";

/// The request header that carries the proof.
pub const PROOF_HEADER: &str = "dpop";

/// The `Authorization` scheme of a token that needs a proof.
pub const TOKEN_SCHEME: &str = "DPoP";

/// How old a proof may be when it arrives, in seconds.
pub const MAX_PROOF_AGE_SECONDS: i64 = 60;

/// The header of a proof. Nothing else may be in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofHeader {
    /// [`PROOF_TYPE`].
    pub typ: String,
    /// [`PROOF_ALGORITHM`].
    pub alg: String,
    /// The public half of the key pair.
    pub jwk: ProofJwk,
}

/// A public P-256 key as a JSON Web Key. Nothing else may be in it, least of all the private half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofJwk {
    /// `EC`.
    pub kty: String,
    /// `P-256`.
    pub crv: String,
    /// The first coordinate: 32 bytes in base64url.
    pub x: String,
    /// The second coordinate: 32 bytes in base64url.
    pub y: String,
}

impl ProofJwk {
    /// The key with these coordinates.
    #[must_use]
    pub fn p256(x: String, y: String) -> Self {
        Self {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            x,
            y,
        }
    }

    /// What RFC 7638 hashes: the required members in the order of the alphabet, without spaces.
    #[must_use]
    pub fn canonical(&self) -> String {
        let Self { kty, crv, x, y } = self;
        format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#)
    }
}

/// What a proof says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofClaims {
    /// The proof's own identity; a server accepts each once.
    pub jti: String,
    /// The method of the request.
    pub htm: String,
    /// The URL of the request, without query and fragment.
    pub htu: String,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// SHA-256 of the token that the proof goes with, in base64url.
    pub ath: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_its_private_half_is_no_key_of_a_proof() {
        let public = r#"{"kty":"EC","crv":"P-256","x":"eA","y":"eQ"}"#;
        let private = r#"{"kty":"EC","crv":"P-256","x":"eA","y":"eQ","d":"ZA"}"#;
        let jwk: ProofJwk = serde_json::from_str(public).unwrap();
        assert_eq!(
            jwk.canonical(),
            r#"{"crv":"P-256","kty":"EC","x":"eA","y":"eQ"}"#
        );
        assert!(serde_json::from_str::<ProofJwk>(private).is_err());
    }
}
