//! The route that publishes the keys of run tokens.

use axum::{Json, extract::State, http::header, response::IntoResponse};
use serde::Serialize;

use crate::{SessionState, signer::PublicKey};

#[derive(Serialize)]
struct KeySet {
    keys: Vec<PublicKey>,
}

/// Every key whose tokens a verifier should accept (RFC 7517).
pub(crate) async fn jwks(State(state): State<SessionState>) -> impl IntoResponse {
    let keys = state.keys.current().await.published(state.clock.now());
    // Much shorter than a key is announced before it signs.
    let caching = [(header::CACHE_CONTROL, "public, max-age=60")];
    (caching, Json(KeySet { keys }))
}
