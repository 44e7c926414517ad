//! Tells a sandbox what to do, once it has proved which machine it is.
//!
//! `POST /v1/attest`, `POST /v1/refresh`, `GET /.well-known/jwks.json`. The statement proves the
//! machine; the engine decides, in one transaction, whether that machine holds a claim; what it gets
//! are a brief and tokens that end with the run.
//!
//! `POST /v1/web-identity` is for our own servers: tokens with which AWS lets them read one credential of a run's
//! tenant. `GET /.well-known/openid-configuration` tells AWS who signs them.

mod attest;
mod brief;
pub mod config;
mod discovery;
mod jwks;
pub mod keys;
mod mint;
mod refresh;
mod refusal;
mod servers;
mod signer;
mod statement;
mod web_identity;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use nightshift_engine::Clock;
use nightshift_lambda::http::with_manners;
use nightshift_protocol::web_identity::WEB_IDENTITY_PATH;
use nightshift_store::Store;

pub use brief::Briefing;
pub use config::SessionConfig;
pub use keys::{KeySet, SigningKey, SigningKeys};
pub use mint::{MintError, mint};
pub use servers::{Servers, ServersError};
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
    /// Which servers may have web identities; without them nobody may.
    pub servers: Option<Arc<Servers>>,
}

/// The routes of the session function.
pub fn router(state: SessionState) -> Router {
    let routes = Router::new()
        .route("/v1/attest", post(attest::attest))
        .route("/v1/refresh", post(refresh::refresh))
        .route("/.well-known/jwks.json", get(jwks::jwks))
        .route(
            "/.well-known/openid-configuration",
            get(discovery::discovery),
        )
        .route(WEB_IDENTITY_PATH, post(web_identity::web_identity))
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
