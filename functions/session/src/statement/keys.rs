//! The issuer's keys, kept for a while and read again when one is missing.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use tokio::sync::Mutex;

use super::discovery::{Discovery, DiscoveryError};

/// How long keys are used without looking again.
const FRESH: Duration = Duration::from_mins(5);
/// How long they are used while the issuer does not answer.
const USABLE: Duration = Duration::from_hours(1);
/// The least time between two looks for a key that is missing, so that strangers who invent key
/// ids cannot make us ask the issuer again and again.
const REST: Duration = Duration::from_secs(5);

/// One key and the only algorithm it may be used with.
#[derive(Debug)]
pub(super) struct IssuerKey {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct IssuerKeys {
    discovery: Discovery,
    known: RwLock<Option<Known>>,
    /// One look at a time; holds when the last one began.
    looking: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone)]
struct Known {
    keys: Arc<HashMap<String, Arc<IssuerKey>>>,
    at: Instant,
}

impl IssuerKeys {
    pub(super) fn new(issuer: &str) -> Result<Self, DiscoveryError> {
        let discovery = Discovery::new(issuer)?;
        Ok(Self {
            discovery,
            known: RwLock::default(),
            looking: Mutex::default(),
        })
    }

    /// The key of that id, or `None` where the issuer has no such key.
    pub(super) async fn named(&self, kid: &str) -> Result<Option<Arc<IssuerKey>>, DiscoveryError> {
        let before = self.known();
        if let Some(known) = before.as_ref().filter(|known| known.at.elapsed() < FRESH)
            && let Some(key) = known.keys.get(kid)
        {
            return Ok(Some(Arc::clone(key)));
        }

        let mut last_look = self.looking.lock().await;
        // Whoever held the lock before us may have found it.
        let known = self.known();
        let looked_since = known.as_ref().map(|known| known.at) != before.map(|known| known.at);
        let resting = last_look.is_some_and(|at| at.elapsed() < REST);
        if let Some(known) = known.as_ref().filter(|_| looked_since || resting) {
            return Ok(known.keys.get(kid).cloned());
        }
        *last_look = Some(Instant::now());
        match self.discovery.keys().await {
            Ok(published) => {
                let keys = Arc::new(
                    published
                        .iter()
                        .filter_map(usable)
                        .collect::<HashMap<_, _>>(),
                );
                let found = keys.get(kid).cloned();
                let known = Known {
                    keys,
                    at: Instant::now(),
                };
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
                Ok(found)
            }
            Err(error) => {
                let known = known.filter(|known| known.at.elapsed() < USABLE);
                // Whether an unknown key is a new one cannot be told now; a known one still counts.
                known
                    .and_then(|known| known.keys.get(kid).cloned())
                    .map(Some)
                    .ok_or(error)
            }
        }
    }

    fn known(&self) -> Option<Known> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A published key that can sign statements: P-256 or RSA of 2048 bits and more. A shared secret
/// never is one, whatever it calls itself.
fn usable(jwk: &Jwk) -> Option<(String, Arc<IssuerKey>)> {
    let common = &jwk.common;
    if matches!(&common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, declared) = if let AlgorithmParameters::EllipticCurve(key) = &jwk.algorithm
        && key.curve == EllipticCurve::P256
    {
        (Algorithm::ES256, KeyAlgorithm::ES256)
    } else if let AlgorithmParameters::RSA(key) = &jwk.algorithm
        // 2048 bits are 342 characters of base64url.
        && key.n.trim_end_matches('=').len() >= 342
    {
        (Algorithm::RS256, KeyAlgorithm::RS256)
    } else {
        return None;
    };
    if matches!(common.key_algorithm, Some(named) if named != declared) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    Some((
        common.key_id.clone()?,
        Arc::new(IssuerKey {
            algorithm,
            decoding,
        }),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn algorithm_of(key: Value) -> Option<Algorithm> {
        usable(&serde_json::from_value(key).ok()?).map(|(_, key)| key.algorithm)
    }

    fn p256(changes: &[(&str, Value)]) -> Value {
        let mut key = json!({
            "kty": "EC", "crv": "P-256", "kid": "k1",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        for (name, value) in changes {
            key[*name] = value.clone();
        }
        key
    }

    #[test]
    fn a_key_has_exactly_one_algorithm() {
        let modulus = "w".repeat(342);
        assert_eq!(algorithm_of(p256(&[])), Some(Algorithm::ES256));
        assert_eq!(
            algorithm_of(p256(&[("alg", json!("ES256"))])),
            Some(Algorithm::ES256)
        );
        let rsa = json!({"kty": "RSA", "kid": "r", "n": modulus, "e": "AQAB"});
        assert_eq!(algorithm_of(rsa), Some(Algorithm::RS256));
    }

    #[test]
    fn shared_secrets_weak_keys_and_keys_for_other_uses_are_not_used() {
        for key in [
            json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"}),
            json!({"kty": "RSA", "kid": "r", "n": "w".repeat(171), "e": "AQAB"}),
            p256(&[("alg", json!("HS256"))]),
            p256(&[("alg", json!("RS256"))]),
            p256(&[("use", json!("enc"))]),
            p256(&[("crv", json!("P-384"))]),
            p256(&[("kid", Value::Null)]),
        ] {
            assert_eq!(algorithm_of(key.clone()), None, "{key}");
        }
    }

    // Made with openssl: `genrsa 2048`, and `dgst -sha256 -sign` over the first two parts.
    const RSA_MODULUS: &str = concat!(
        "m_F93vfYAqbo_8hjJkExprkuwwjveE-UjGoIOyDvfE1UU31jUSUpy1eXMIlcCqpk5E49SZv9U-",
        "Z4hqMK09R4jAea-d30uJqGRFhGykmQAeVDEkap__ZlZdGug1PyNW-",
        "WoLeQR2qWTBZFtod7A-QN8R1Dk4S5RS5j6ov9UWFAaMMmuYUkrvev5H0TvHxRojVZGpJ-txjszkxGDZikwUv",
        "fuMta2yfjwscRvp5L4pV4PTVSSHNj_ObJJoCoiGeHAGnedn5WOtuveTEWT4TvRSiv8IdXy2OQfJ5IemRrXfJ",
        "trsaaBE9zuXNZAWdkSaFIfLzubqkWrIk3o8JZ0DR3nv4RNQ",
    );
    const RSA_SIGNED: &str = concat!(
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InIifQ.eyJqdGkiOiJvbmUifQ.ekLQwT6b3tdXAwka49oPiWju8-",
        "Tc0rx64-_zVY-w6U2ugVWEP_kpHRoOuR1RG1_Bi4z2Bei1meVTXu74Fg-hY5hcUptGQk6nAKyqOdSEMLYSFx",
        "xhdXMN8Ep3TeEFI55xAAV6IcfWISYoeftZi3zRuZscldO9HjncqnNS4F5bcJdX3sdTSeU23SNmGMr4N5EVcs",
        "gzh8KZaVb3Iib2IHF59IQJ85jvkJrBYac7Vw3qCAlGoKUdfHFNsJV6z3pW-",
        "tEdHiKPVlHjFnqxjvYtOhDiA0fRQaxzZbRFGeWphW2vOkbQd65yJcDVOPU-",
        "OzVae7_dqCNU4fenUGthSJByfLXbog",
    );

    #[test]
    fn an_issuer_that_signs_with_rsa_is_understood() {
        let jwk = json!({"kty": "RSA", "kid": "r", "n": RSA_MODULUS, "e": "AQAB", "alg": "RS256"});
        let (_, key) = usable(&serde_json::from_value(jwk).unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(key.algorithm);
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let decode = |token: &str| jsonwebtoken::decode::<Value>(token, &key.decoding, &validation);

        assert_eq!(decode(RSA_SIGNED).unwrap().claims, json!({"jti": "one"}));
        // The claims of another identity under the same signature.
        let forged = RSA_SIGNED.replace("eyJqdGkiOiJvbmUifQ", "eyJqdGkiOiJ0d28ifQ");
        assert_ne!(forged, RSA_SIGNED);
        assert!(decode(&forged).is_err());
    }
}
