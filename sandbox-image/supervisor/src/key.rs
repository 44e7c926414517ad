//! The key pair that a run's tokens are bound to. It is made in memory and never leaves it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::{ecdsa::SigningKey, elliptic_curve::rand_core::OsRng};
use sha2::{Digest, Sha256};

/// An ES256 key pair. The private half is overwritten when this is dropped.
pub struct ProofKey {
    key: SigningKey,
}

impl ProofKey {
    /// Makes a new pair from the kernel's randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self {
            key: SigningKey::random(&mut OsRng),
        }
    }

    /// RFC 7638 thumbprint of the public half: SHA-256 over its JWK with the required members in
    /// lexicographic order and no white space, in base64url.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let point = self.key.verifying_key().to_encoded_point(false);
        let coordinate = |value: Option<&p256::FieldBytes>| {
            URL_SAFE_NO_PAD.encode(value.map(|bytes| &bytes[..]).unwrap_or_default())
        };
        jwk_thumbprint(&coordinate(point.x()), &coordinate(point.y()))
    }
}

fn jwk_thumbprint(x: &str, y: &str) -> String {
    let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(jwk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_hashes_the_required_members_in_order() {
        // The EC key of RFC 7515 appendix A.3; the expected value was computed with OpenSSL.
        assert_eq!(
            jwk_thumbprint(
                "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            ),
            "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
        );
    }

    #[test]
    fn every_pair_is_another_one() {
        let (one, two) = (ProofKey::generate(), ProofKey::generate());
        assert_eq!(one.thumbprint().len(), 43);
        assert_ne!(one.thumbprint(), two.thumbprint());
    }
}
