//! The layer in front of every server: a verified token of a live run, presented by whoever holds the
//! key that it is bound to, or nothing.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use chrono::DateTime;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use nightshift_controls::{Control, holds};
use nightshift_protocol::{
    RunClaims,
    proof::{PROOF_ALGORITHM, PROOF_HEADER, TOKEN_SCHEME},
    run::RunStatus,
};

use crate::{
    Grant, Runs, TokenVerifier,
    metadata::{self, METADATA_PATH},
    proof::{Asked, ProofRefusal, ProofVerifier},
    token::TokenRefusal,
};

/// The body of every 401. It is one constant, so that a caller cannot learn from it which of the
/// checks stopped them.
pub(crate) const UNAUTHORIZED: &str = r#"{"error":"unauthorized"}"#;
const UNAVAILABLE: &str = r#"{"error":"unavailable"}"#;
const TOO_MANY: &str = r#"{"error":"too many requests"}"#;

/// Lets live runs in.
pub struct Gate {
    verifier: TokenVerifier,
    proofs: ProofVerifier,
    runs: Arc<dyn Runs>,
    challenges: Challenges,
}

/// Why a request does not get in. For our log only.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("it carries no single token in its header")]
    NoToken,
    #[error("its token is presented without a proof, as a bearer token")]
    Bearer,
    #[error("it carries a token in its query")]
    TokenInQuery,
    #[error("its token is refused: {0}")]
    Token(TokenRefusal),
    #[error("its proof is refused: {0}")]
    Proof(ProofRefusal),
    #[error("its run is not live")]
    NotLive,
    #[error("its token and its run disagree")]
    Disagreement,
    #[error("its key has made too many proofs")]
    TooMany,
    #[error("{0}")]
    Unavailable(String),
}

/// What a refused caller is told of how to do better: which of its two parts is wrong (RFC 9449 §7.1), and
/// where this server describes itself (RFC 9728 §5.1). The same words for every way to be wrong.
#[derive(Debug)]
struct Challenges {
    nothing: HeaderValue,
    token: HeaderValue,
    proof: HeaderValue,
}

impl Gate {
    /// Lets in whom `verifier` accepts, as long as `runs` says that the run is live.
    #[must_use]
    pub fn new(verifier: TokenVerifier, runs: Arc<dyn Runs>) -> Self {
        let origin = &verifier.rules().origin;
        Self {
            proofs: ProofVerifier::new(origin.clone(), verifier.clock()),
            challenges: Challenges::pointing_to(&metadata::address(origin)),
            verifier,
            runs,
        }
    }

    async fn grant(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Grant, Stop> {
        if has_token(uri.query()) && holds(Control::TokenInQuery) {
            return Err(Stop::TokenInQuery);
        }
        let token = presented(headers)?;
        let claims = self.verifier.verify(token).await?;
        // Before anybody else is asked: a stolen token is not worth a question.
        let asked = Asked {
            method,
            uri,
            headers,
        };
        if holds(Control::ProofPresent) || headers.contains_key(PROOF_HEADER) {
            self.proofs.verify(asked, token, &claims.cnf.jkt)?;
        }
        let run = self
            .runs
            .status(claims.investigation, claims.epoch)
            .await
            .map_err(|error| Stop::Unavailable(error.to_string()))?
            .or_else(|| believed(&claims))
            .ok_or(Stop::NotLive)?;
        // The sandbox too: an epoch counts the starts of one sandbox only.
        let same = (run.tenant, run.investigation, run.sandbox, run.epoch)
            == (
                claims.tenant,
                claims.investigation,
                claims.sandbox,
                claims.epoch,
            );
        if !same && holds(Control::RunAgrees) {
            return Err(Stop::Disagreement);
        }
        Ok(Grant::new(&claims, self.verifier.rules().audience, run))
    }
}

impl Challenges {
    fn pointing_to(metadata: &str) -> Self {
        let common = format!(r#"algs="{PROOF_ALGORITHM}", resource_metadata="{metadata}""#);
        let challenge = |error: &str| {
            HeaderValue::try_from(format!("{TOKEN_SCHEME} {error}{common}"))
                // The origin is a URL and so has no character that a header cannot carry.
                .unwrap_or(HeaderValue::from_static(TOKEN_SCHEME))
        };
        Self {
            nothing: challenge(""),
            token: challenge(r#"error="invalid_token", "#),
            proof: challenge(r#"error="invalid_dpop_proof", "#),
        }
    }

    fn after(&self, stop: &Stop) -> HeaderValue {
        match stop {
            Stop::NoToken => &self.nothing,
            Stop::Proof(_) => &self.proof,
            Stop::Bearer
            | Stop::TokenInQuery
            | Stop::Token(_)
            | Stop::NotLive
            | Stop::Disagreement
            | Stop::TooMany
            | Stop::Unavailable(_) => &self.token,
        }
        .clone()
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

impl From<ProofRefusal> for Stop {
    fn from(refusal: ProofRefusal) -> Self {
        match refusal {
            ProofRefusal::TooMany => Self::TooMany,
            ProofRefusal::Full => Self::Unavailable(refusal.to_string()),
            ProofRefusal::NotOne
            | ProofRefusal::TooLong
            | ProofRefusal::Malformed
            | ProofRefusal::Header(_)
            | ProofRefusal::OtherKey
            | ProofRefusal::Claim(_)
            | ProofRefusal::Signature
            | ProofRefusal::Replayed => Self::Proof(refusal),
        }
    }
}

/// Puts the gate in front of every route that the router has so far, and beside it the metadata that says
/// what the gate wants. A handler behind it finds a [`Grant`] in the request's extensions.
pub fn protect(router: Router, gate: Arc<Gate>) -> Router {
    let told = metadata::answer(gate.verifier.rules());
    router
        .layer(from_fn_with_state(gate, admit))
        .route(METADATA_PATH, told)
}

async fn admit(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let granted = gate
        .grant(request.method(), request.uri(), request.headers())
        .await;
    match granted {
        Ok(grant) => {
            // Nothing behind the gate needs the token, so nothing behind it can leak the token.
            if holds(Control::TokenStripped) {
                request.headers_mut().remove(AUTHORIZATION);
                request.headers_mut().remove(PROOF_HEADER);
            }
            request.extensions_mut().insert(grant);
            next.run(request).await
        }
        Err(Stop::Unavailable(cause)) => {
            tracing::error!(cause, "A request waits because its run cannot be checked");
            let headers = [(CONTENT_TYPE, "application/json"), (RETRY_AFTER, "1")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, UNAVAILABLE).into_response()
        }
        Err(Stop::TooMany) => {
            tracing::warn!("A key has made more proofs than are remembered");
            let headers = [(CONTENT_TYPE, "application/json"), (RETRY_AFTER, "10")];
            (StatusCode::TOO_MANY_REQUESTS, headers, TOO_MANY).into_response()
        }
        Err(reason) => {
            tracing::warn!(%reason, "Refused a request");
            let headers = [
                (CONTENT_TYPE, HeaderValue::from_static("application/json")),
                (WWW_AUTHENTICATE, gate.challenges.after(&reason)),
                (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ];
            if !holds(Control::RefusalsAlike) {
                return (StatusCode::UNAUTHORIZED, headers, reason.to_string()).into_response();
            }
            (StatusCode::UNAUTHORIZED, headers, UNAUTHORIZED).into_response()
        }
    }
}

/// The token of the one `Authorization` header. Two headers are refused: whoever stands before us
/// may have read the other one. So is the scheme of bearer tokens: ours are none (RFC 9449 §7.2).
fn presented(headers: &HeaderMap) -> Result<&str, Stop> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), true) = (
        values.next(),
        values.next().is_none() || !holds(Control::OneToken),
    ) else {
        return Err(Stop::NoToken);
    };
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or(Stop::NoToken)?;
    let well_formed = !token.is_empty()
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    match scheme {
        _ if !well_formed => Err(Stop::NoToken),
        _ if scheme.eq_ignore_ascii_case(TOKEN_SCHEME) => Ok(token),
        _ if !holds(Control::TokenScheme) => Ok(token),
        _ if scheme.eq_ignore_ascii_case("bearer") => Err(Stop::Bearer),
        _ => Err(Stop::NoToken),
    }
}

/// What a gate believes of a run that does without `run-live`: whatever its token says.
fn believed(claims: &RunClaims) -> Option<RunStatus> {
    (!holds(Control::RunLive)).then(|| RunStatus {
        investigation: claims.investigation,
        tenant: claims.tenant,
        sandbox: claims.sandbox,
        epoch: claims.epoch,
        fired_at: DateTime::UNIX_EPOCH,
        connections: BTreeMap::new(),
    })
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
