//! Tells a sandbox what to do, once it has proved which machine it is.
//!
//! `POST /v1/attest`, `POST /v1/refresh`, `GET /.well-known/jwks.json`. The statement proves the
//! machine; the engine decides, in one transaction, whether that machine holds a claim; what it gets
//! are a brief and tokens that end with the run.

mod attest;
mod brief;
pub mod config;
mod jwks;
pub mod keys;
mod mint;
mod refresh;
mod refusal;
mod signer;
mod statement;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use nightshift_engine::Clock;
use nightshift_lambda::http::with_manners;
use nightshift_store::Store;

pub use brief::Briefing;
pub use config::SessionConfig;
pub use keys::{KeySet, SigningKey, SigningKeys};
pub use mint::{MintError, mint};
pub use signer::{HeldSigner, KmsKeyError, KmsSigner, NotAKey, PublicKey, SignError, Signer};
pub use statement::{DiscoveryError, StatementError, StatementVerifier};

/// The largest request we read, in bytes.
const MAX_BODY_BYTES: usize = 32 * 1024;

/// What the router needs.
#[derive(Clone)]
pub struct SessionState {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Proves which machine asks.
    pub verifier: Arc<StatementVerifier>,
    /// Sign run tokens.
    pub keys: Arc<SigningKeys>,
    /// The `iss` of run tokens.
    pub issuer: Arc<str>,
    /// What every agent is told.
    pub briefing: Arc<Briefing>,
}

/// The routes of the session function.
pub fn router(state: SessionState) -> Router {
    let routes = Router::new()
        .route("/v1/attest", post(attest::attest))
        .route("/v1/refresh", post(refresh::refresh))
        .route("/.well-known/jwks.json", get(jwks::jwks))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state);
    with_manners(routes)
}

impl fmt::Debug for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionState")
            .field("issuer", &self.issuer)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
