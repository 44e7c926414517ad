//! Issues run tokens with a key of its own, good ones and bad ones.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::{
    Algorithm, EncodingKey, crypto,
    jwk::{Jwk, JwkSet},
};
use nightshift_domain::{Scope, scope::Audience};
use nightshift_protocol::{
    RunClaims,
    run::RunStatus,
    run_token::{Confirmation, MAX_LIFE_SECONDS, TOKEN_TYPE},
};
use p256::{
    SecretKey,
    elliptic_curve::rand_core::OsRng,
    pkcs8::{EncodePrivateKey, LineEnding},
};
use serde_json::{Value, json};

use super::Holder;
use crate::{KeySource, KeysUnavailable, Pending};

/// The issuer that the tests' tokens name.
pub const ISSUER: &str = "https://session.example";

/// Issues run tokens with a fresh key.
#[derive(Clone)]
pub struct Issuer {
    key: EncodingKey,
    /// The public half, with its key id.
    pub jwk: Jwk,
    /// The key's id.
    pub kid: String,
}

impl Issuer {
    /// A new key under this id.
    #[must_use]
    pub fn new(kid: &str) -> Self {
        let pem = SecretKey::random(&mut OsRng)
            .to_pkcs8_pem(LineEnding::LF)
            .expect("a key that was just made has a PEM form");
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).expect("the PEM form is read back");
        let mut jwk =
            Jwk::from_encoding_key(&key, Algorithm::ES256).expect("the key has a public half");
        jwk.common.key_id = Some(kid.to_owned());
        Self {
            key,
            jwk,
            kid: kid.to_owned(),
        }
    }

    /// The claims of a good token for this run, bound to the key of [`Holder::default`].
    #[must_use]
    pub fn claims(
        run: &RunStatus,
        audience: Audience,
        scopes: &[Scope],
        now: DateTime<Utc>,
    ) -> RunClaims {
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        RunClaims {
            iss: ISSUER.to_owned(),
            aud: audience.as_str().to_owned(),
            sub: format!("run:{}", run.investigation),
            tenant: run.tenant,
            investigation: run.investigation,
            sandbox: run.sandbox,
            epoch: run.epoch,
            scope: scopes.join(" "),
            jti: "jti-1".to_owned(),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: now.timestamp() + MAX_LIFE_SECONDS,
            cnf: Confirmation {
                jkt: Holder::default().thumbprint(),
            },
        }
    }

    /// The header of a good token.
    #[must_use]
    pub fn header(&self) -> Value {
        json!({ "alg": "ES256", "typ": TOKEN_TYPE, "kid": self.kid })
    }

    /// A good token.
    #[must_use]
    pub fn sign(&self, claims: &RunClaims) -> String {
        let claims = serde_json::to_value(claims).expect("claims have a JSON form");
        self.sign_as(&self.header(), &claims)
    }

    /// A token with any header and any claims, signed with the key as ES256.
    #[must_use]
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature =
            crypto::sign(message.as_bytes(), &self.key, Algorithm::ES256).expect("the key signs");
        format!("{message}.{signature}")
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl KeySource for Issuer {
    fn fetch(&self) -> Pending<'_, Result<JwkSet, KeysUnavailable>> {
        let keys = JwkSet {
            keys: vec![self.jwk.clone()],
        };
        Box::pin(async move { Ok(keys) })
    }
}

/// Header and claims of a token, without a signature.
#[must_use]
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        encode(header.to_string()),
        encode(claims.to_string())
    )
}

/// One part of a token.
#[must_use]
pub fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}
