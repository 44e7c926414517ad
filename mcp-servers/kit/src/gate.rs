//! The layer in front of every server: a verified token of a live run, or nothing.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, StatusCode, Uri,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::{Grant, Runs, TokenVerifier, token::TokenRefusal};

/// The body of every 401. It is one constant, so that a caller cannot learn from it which of the
/// checks stopped them.
pub(crate) const UNAUTHORIZED: &str = r#"{"error":"unauthorized"}"#;
const UNAVAILABLE: &str = r#"{"error":"unavailable"}"#;

/// Lets live runs in.
pub struct Gate {
    verifier: TokenVerifier,
    runs: Arc<dyn Runs>,
}

/// Why a request does not get in. For our log only.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("it carries no single bearer token in its header")]
    NoToken,
    #[error("it carries a token in its query")]
    TokenInQuery,
    #[error("its token is refused: {0}")]
    Token(TokenRefusal),
    #[error("its run is not live")]
    NotLive,
    #[error("its token and its run disagree")]
    Disagreement,
    #[error("{0}")]
    Unavailable(String),
}

impl Gate {
    /// Lets in whom `verifier` accepts, as long as `runs` says that the run is live.
    #[must_use]
    pub fn new(verifier: TokenVerifier, runs: Arc<dyn Runs>) -> Self {
        Self { verifier, runs }
    }

    async fn grant(&self, uri: &Uri, headers: &HeaderMap) -> Result<Grant, Stop> {
        if has_token(uri.query()) {
            return Err(Stop::TokenInQuery);
        }
        let token = bearer(headers).ok_or(Stop::NoToken)?;
        let claims = self.verifier.verify(token).await?;
        let run = self
            .runs
            .status(claims.investigation, claims.epoch)
            .await
            .map_err(|error| Stop::Unavailable(error.to_string()))?
            .ok_or(Stop::NotLive)?;
        // The sandbox too: an epoch counts the starts of one sandbox only.
        let same = (run.tenant, run.investigation, run.sandbox, run.epoch)
            == (
                claims.tenant,
                claims.investigation,
                claims.sandbox,
                claims.epoch,
            );
        if !same {
            return Err(Stop::Disagreement);
        }
        Ok(Grant::new(&claims, self.verifier.audience(), run))
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

impl From<TokenRefusal> for Stop {
    fn from(refusal: TokenRefusal) -> Self {
        match refusal {
            TokenRefusal::Keys(error) => Self::Unavailable(error.to_string()),
            TokenRefusal::TooLong
            | TokenRefusal::Malformed
            | TokenRefusal::Header(_)
            | TokenRefusal::UnknownKey
            | TokenRefusal::Signature
            | TokenRefusal::Claim(_) => Self::Token(refusal),
        }
    }
}

/// Puts the gate in front of every route that the router has so far. A handler behind it finds a
/// [`Grant`] in the request's extensions.
pub fn protect(router: Router, gate: Arc<Gate>) -> Router {
    router.layer(from_fn_with_state(gate, admit))
}

async fn admit(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    match gate.grant(request.uri(), request.headers()).await {
        Ok(grant) => {
            // Nothing behind the gate needs the token, so nothing behind it can leak the token.
            request.headers_mut().remove(AUTHORIZATION);
            request.extensions_mut().insert(grant);
            next.run(request).await
        }
        Err(Stop::Unavailable(cause)) => {
            tracing::error!(cause, "A request waits because its run cannot be checked");
            let headers = [(CONTENT_TYPE, "application/json"), (RETRY_AFTER, "1")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, UNAVAILABLE).into_response()
        }
        Err(reason) => {
            tracing::warn!(%reason, "Refused a request");
            let headers = [
                (CONTENT_TYPE, "application/json"),
                (WWW_AUTHENTICATE, "Bearer"),
                (CACHE_CONTROL, "no-store"),
            ];
            (StatusCode::UNAUTHORIZED, headers, UNAUTHORIZED).into_response()
        }
    }
}

/// The token of the one `Authorization` header. Two headers are refused: whoever stands before us
/// may have read the other one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let well_formed = scheme.eq_ignore_ascii_case("bearer")
        && !token.is_empty()
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    well_formed.then_some(token)
}

/// A query ends up in logs, so a token in it is leaked already; refusing says so early.
fn has_token(query: Option<&str>) -> bool {
    query.unwrap_or_default().split('&').any(|pair| {
        let name = pair
            .split_once('=')
            .map_or(pair, |(name, _)| name)
            .to_ascii_lowercase();
        ["access_token", "token", "authorization"].contains(&name.as_str())
    })
}
