//! Verifies run tokens. Everything is demanded, nothing that a token says about keys is believed.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use nightshift_controls::{Control, holds};
use nightshift_domain::scope::Audience;
use nightshift_protocol::{
    RunClaims,
    run_token::{MAX_LIFE_SECONDS, TOKEN_TYPE},
};
use reqwest::Url;
use serde_json::Value;

use crate::{Clock, Keyring, KeysUnavailable};

/// How far the clocks of issuer and verifier may be apart, in seconds.
const LEEWAY_SECONDS: i64 = 5;
/// No run token is longer than this, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Whose tokens, for whom, and where they are presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// The exact issuer.
    pub issuer: String,
    /// The one server that we are.
    pub audience: Audience,
    /// Scheme, host and port under which sandboxes ask us. A proof must name it.
    pub origin: Url,
}

/// Verifies run tokens against the closed set of keys.
pub struct TokenVerifier {
    rules: TokenRules,
    keys: Keyring,
    clock: Arc<dyn Clock>,
}

/// Why a token is not accepted. For our log only: the caller learns nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenRefusal {
    #[error("it is too long")]
    TooLong,
    #[error("it is not a JWT")]
    Malformed,
    #[error("its header is not that of a run token: {0}")]
    Header(&'static str),
    #[error("no key of ours has its key id")]
    UnknownKey,
    #[error("its signature or a claim's type is wrong")]
    Signature,
    #[error("its claim `{0}` is not acceptable")]
    Claim(&'static str),
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
}

impl TokenVerifier {
    /// Verifies by these rules.
    #[must_use]
    pub fn new(rules: TokenRules, keys: Keyring, clock: Arc<dyn Clock>) -> Self {
        Self { rules, keys, clock }
    }

    pub(crate) const fn rules(&self) -> &TokenRules {
        &self.rules
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<RunClaims, TokenRefusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefusal::TooLong);
        }
        if !holds(Control::TokenSignature) {
            let claims = taken_at_its_word(token).ok_or(TokenRefusal::Malformed)?;
            self.check(&claims).map_err(TokenRefusal::Claim)?;
            return Ok(claims);
        }
        let header = decode_header(token).map_err(|_| TokenRefusal::Malformed)?;
        if header.alg != Algorithm::ES256 {
            return Err(TokenRefusal::Header("alg"));
        }
        if header.typ.as_deref() != Some(TOKEN_TYPE) && holds(Control::TokenType) {
            return Err(TokenRefusal::Header("typ"));
        }
        if header.crit.is_some() {
            return Err(TokenRefusal::Header("crit"));
        }
        let name = header.kid.ok_or(TokenRefusal::Header("kid"))?;
        let key = match &header.jwk {
            Some(named_by_the_token) if !holds(Control::KeySet) => {
                DecodingKey::from_jwk(named_by_the_token).ok()
            }
            Some(_) | None => self.keys.key(&name).await?,
        }
        .ok_or(TokenRefusal::UnknownKey)?;

        // Only the signature and the types of the claims are left to the library: its own checks
        // of claims accept several audiences and ask the machine for the time.
        let mut signature_only = Validation::new(Algorithm::ES256);
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_nbf = false;
        signature_only.validate_aud = false;
        let claims = if holds(Control::ClaimTypes) {
            decode::<RunClaims>(token, &key, &signature_only).map(|token| token.claims)
        } else {
            decode::<Value>(token, &key, &signature_only).and_then(|token| guessed(token.claims))
        }
        .map_err(|_| TokenRefusal::Signature)?;

        self.check(&claims).map_err(TokenRefusal::Claim)?;
        Ok(claims)
    }

    fn check(&self, claims: &RunClaims) -> Result<(), &'static str> {
        let now = self.clock.now().timestamp();
        let soon = now.saturating_add(LEEWAY_SECONDS);
        let life = claims.exp.checked_sub(claims.iat).ok_or("exp")?;
        let checks = [
            (claims.iss == self.rules.issuer, "iss"),
            (
                claims.aud == self.rules.audience.as_str() || !holds(Control::TokenAudience),
                "aud",
            ),
            (claims.sub == format!("run:{}", claims.investigation), "sub"),
            (!claims.jti.is_empty(), "jti"),
            (claims.iat <= soon, "iat"),
            (claims.nbf <= soon || !holds(Control::TokenNotBefore), "nbf"),
            (
                claims.exp.saturating_add(LEEWAY_SECONDS) > now || !holds(Control::TokenExpiry),
                "exp",
            ),
            (
                (1..=MAX_LIFE_SECONDS).contains(&life) || !holds(Control::TokenLifetime),
                "exp",
            ),
            (!claims.cnf.jkt.is_empty(), "cnf"),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, claim)) => Err(claim),
            None => Ok(()),
        }
    }
}

/// What a verifier reads that does without `token-signature`.
fn taken_at_its_word(token: &str) -> Option<RunClaims> {
    let json = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&json).ok()
}

/// What a verifier reads that does without `claim-types`: a claim of another type counts as if it were not
/// there, and of several audiences one is enough.
fn guessed(mut claims: Value) -> Result<RunClaims, jsonwebtoken::errors::Error> {
    let iat = claims["iat"].as_i64().unwrap_or_default();
    for (time, instead) in [("nbf", iat), ("exp", iat + MAX_LIFE_SECONDS)] {
        if !claims[time].is_i64() {
            claims[time] = instead.into();
        }
    }
    if let Some(first) = claims["aud"].get(0).cloned() {
        claims["aud"] = first;
    }
    Ok(serde_json::from_value(claims)?)
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenVerifier")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
