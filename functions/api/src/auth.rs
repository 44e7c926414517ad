//! Lets only those in who carry one of the configured tokens.

use std::fmt;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use nightshift_lambda::Problem;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::ApiState;

/// The shortest token we accept in a configuration, in bytes.
const MIN_BYTES: usize = 16;

/// The tokens that open the API, kept as digests; several during a rotation.
pub struct Tokens(Vec<[u8; 32]>);

/// A token is so short that it could be guessed, or there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an API needs at least one token, and each of at least {MIN_BYTES} bytes")]
pub struct WeakTokens;

impl Tokens {
    /// The given tokens.
    pub fn new(tokens: &[SecretString]) -> Result<Self, WeakTokens> {
        let strong = |token: &SecretString| token.expose_secret().trim().len() >= MIN_BYTES;
        if tokens.is_empty() || !tokens.iter().all(strong) {
            return Err(WeakTokens);
        }
        Ok(Self(
            tokens
                .iter()
                .map(|token| digest(token.expose_secret()))
                .collect(),
        ))
    }

    /// Whether `offered` is one of them. Every one is compared, whatever matched before.
    fn admit(&self, offered: &str) -> bool {
        let offered = digest(offered);
        let matched = self.0.iter().fold(Choice::from(0), |matched, token| {
            matched | token[..].ct_eq(&offered[..])
        });
        matched.into()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("count", &self.0.len())
            .finish_non_exhaustive()
    }
}

/// Lets a request pass that carries a token; answers 401 to any other, always with the same words.
pub(crate) async fn demand_token(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    if !bearer(request.headers()).is_some_and(|offered| state.tokens.admit(offered)) {
        let mut refusal = Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "A token is needed",
            "send one header `Authorization: Bearer TOKEN`",
        )
        .into_response();
        refusal
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refusal;
    }
    let mut response = next.run(request).await;
    // What tenants' alerts say is not for caches between us and the operator.
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

/// The one bearer token of a request; `None` where there is none or more than one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "an-old-operator-token";
    const NEW: &str = "a-new-operator-token!";

    #[test]
    fn either_token_of_a_rotation_is_admitted_and_nothing_else() {
        let tokens = Tokens::new(&[OLD.into(), NEW.into()]).unwrap();
        assert!(tokens.admit(OLD) && tokens.admit(NEW));
        for wrong in [
            "",
            "an-old-operator-toke",
            "an-old-operator-token ",
            "AN-OLD-OPERATOR-TOKEN",
        ] {
            assert!(!tokens.admit(wrong), "{wrong:?}");
        }
        assert!(!format!("{tokens:?}").contains("operator"));
    }

    #[test]
    fn no_token_and_a_short_one_are_refused_at_start() {
        assert_eq!(Tokens::new(&[]).err(), Some(WeakTokens));
        assert_eq!(
            Tokens::new(&[OLD.into(), "short".into()]).err(),
            Some(WeakTokens)
        );
        assert_eq!(
            Tokens::new(&["                       ".into()]).err(),
            Some(WeakTokens)
        );
    }

    #[test]
    fn a_request_carries_exactly_one_bearer_token() {
        let headers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            headers
        };
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])), Some("abc"));
        for wrong in [
            &[][..],
            &["abc"],
            &["Basic abc"],
            &["Bearer abc", "Bearer abc"],
        ] {
            assert_eq!(bearer(&headers(wrong)), None, "{wrong:?}");
        }
    }
}
