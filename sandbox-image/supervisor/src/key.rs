//! The key pair that a run's tokens are bound to. It is made in memory and never leaves it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Method};
use nightshift_protocol::proof::{PROOF_ALGORITHM, PROOF_TYPE, ProofClaims, ProofHeader, ProofJwk};
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer as _},
    elliptic_curve::rand_core::{OsRng, RngCore as _},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// An ES256 key pair. The private half is overwritten when this is dropped.
pub struct ProofKey {
    key: SigningKey,
    jwk: ProofJwk,
}

/// What a proof is for.
#[derive(Debug, Clone, Copy)]
pub struct Proven<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// Its URL; query and fragment are left out of the proof.
    pub url: &'a str,
    /// What [`token_hash`] gives for its token.
    pub token_hash: &'a str,
    /// Now, by the clock of whoever issued the token, in seconds since 1970.
    pub at: i64,
}

/// A proof could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A part has no JSON form.
    #[error("the proof has no JSON form")]
    Json(#[from] serde_json::Error),
    /// The key did not sign.
    #[error("the proof could not be signed")]
    Signature(#[from] p256::ecdsa::Error),
    /// The proof is no header's value.
    #[error("the proof cannot be sent")]
    Header(#[from] http::header::InvalidHeaderValue),
}

impl ProofKey {
    /// Makes a new pair from the kernel's randomness.
    #[must_use]
    pub fn generate() -> Self {
        let key = SigningKey::random(&mut OsRng);
        let point = key.verifying_key().to_encoded_point(false);
        let coordinate = |value: Option<&p256::FieldBytes>| {
            URL_SAFE_NO_PAD.encode(value.map(|bytes| &bytes[..]).unwrap_or_default())
        };
        let jwk = ProofJwk::p256(coordinate(point.x()), coordinate(point.y()));
        Self { key, jwk }
    }

    /// RFC 7638 thumbprint of the public half: SHA-256 over its JWK with the required members in
    /// lexicographic order and no white space, in base64url.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        jwk_thumbprint(&self.jwk)
    }

    /// Proves that whoever sends this one request holds the key (RFC 9449). Each proof has an identity of
    /// its own, so each attempt needs another one.
    pub fn prove(&self, proven: Proven<'_>) -> Result<HeaderValue, ProofError> {
        let header = ProofHeader {
            typ: PROOF_TYPE.to_owned(),
            alg: PROOF_ALGORITHM.to_owned(),
            jwk: self.jwk.clone(),
        };
        let url = proven.url.split(['?', '#']).next().unwrap_or_default();
        let mut identity = [0; 16];
        OsRng.fill_bytes(&mut identity);
        let claims = ProofClaims {
            jti: URL_SAFE_NO_PAD.encode(identity),
            htm: proven.method.as_str().to_owned(),
            htu: url.to_owned(),
            iat: proven.at,
            ath: proven.token_hash.to_owned(),
        };
        let message = format!("{}.{}", part(&header)?, part(&claims)?);
        let signature: Signature = self.key.try_sign(message.as_bytes())?;
        let signature = URL_SAFE_NO_PAD.encode(signature.to_bytes());
        Ok(HeaderValue::try_from(format!("{message}.{signature}"))?)
    }
}

/// What a proof says of the token that it goes with: its SHA-256, in base64url.
#[must_use]
pub fn token_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}

fn part(part: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(part)?))
}

fn jwk_thumbprint(jwk: &ProofJwk) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(jwk.canonical()))
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::{VerifyingKey, signature::Verifier as _};

    use super::*;

    #[test]
    fn the_thumbprint_hashes_the_required_members_in_order() {
        // The EC key of RFC 7515 appendix A.3; the expected value was computed with OpenSSL.
        let jwk = ProofJwk::p256(
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU".to_owned(),
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0".to_owned(),
        );
        assert_eq!(
            jwk_thumbprint(&jwk),
            "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
        );
    }

    #[test]
    fn the_hash_of_a_token_is_that_of_rfc_9449() {
        // The token and the hash of RFC 9449 §7.1.
        let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        assert_eq!(
            token_hash(token),
            "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
        );
    }

    #[test]
    fn every_pair_is_another_one() {
        let (one, two) = (ProofKey::generate(), ProofKey::generate());
        assert_eq!(one.thumbprint().len(), 43);
        assert_ne!(one.thumbprint(), two.thumbprint());
    }

    #[test]
    fn a_proof_is_signed_names_the_request_and_shows_the_public_half_alone() {
        let key = ProofKey::generate();
        let proven = Proven {
            method: &Method::POST,
            url: "http://llm.example/v1/messages?beta=true",
            token_hash: "hash",
            at: 1_234,
        };
        let proof = key.prove(proven).unwrap();
        let again = key.prove(proven).unwrap();
        assert_ne!(proof, again);

        let (message, signature) = proof.to_str().unwrap().rsplit_once('.').unwrap();
        let (header, claims) = message.split_once('.').unwrap();
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&decode(header)).unwrap();
        assert_eq!(header["typ"], "dpop+jwt");
        assert_eq!(header["alg"], "ES256");
        let members: Vec<_> = header["jwk"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["crv", "kty", "x", "y"]);
        let claims: ProofClaims = serde_json::from_slice(&decode(claims)).unwrap();
        assert_eq!(claims.htm, "POST");
        assert_eq!(claims.htu, "http://llm.example/v1/messages");
        assert_eq!((claims.iat, claims.ath.as_str()), (1_234, "hash"));

        let member = |name: &str| decode(header["jwk"][name].as_str().unwrap());
        let point = [vec![4], member("x"), member("y")].concat();
        let public = VerifyingKey::from_sec1_bytes(&point).unwrap();
        let signature = Signature::from_slice(&decode(signature)).unwrap();
        public.verify(message.as_bytes(), &signature).unwrap();
    }
}
