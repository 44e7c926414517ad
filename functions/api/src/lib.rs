//! The operators' API: what came in, what is being done about it, and what was found.
//!
//! JSON, a bearer token, pages, and RFC 9457 problem details on every error. The document at
//! `/v1/openapi.json` is generated from this code.

mod auth;
mod document;
mod extract;
mod feed;
mod page;
mod refusal;
mod routes;

use std::{fmt, sync::Arc};

use axum::{Extension, Router, extract::DefaultBodyLimit, middleware};
use nightshift_engine::Clock;
use nightshift_lambda::http::with_fallbacks;
use nightshift_store::Store;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use auth::Tokens;
pub use feed::Feed;

/// The largest request we read, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What the router needs.
#[derive(Clone)]
pub struct ApiState {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who may ask. A token of this kind sees every tenant.
    pub tokens: Arc<Tokens>,
    /// Wakes those who wait for events.
    pub feed: Arc<Feed>,
}

impl ApiState {
    /// The state over one database.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, tokens: Tokens) -> Self {
        let feed = Arc::new(Feed::over(store.clone()));
        Self {
            store,
            clock,
            tokens: Arc::new(tokens),
            feed,
        }
    }
}

/// The routes of the operators' API.
pub fn router(state: ApiState) -> Router {
    let guarded = OpenApiRouter::with_openapi(document::preamble())
        .routes(routes!(routes::investigations::list))
        .routes(routes!(routes::investigations::read))
        .routes(routes!(routes::events::follow))
        .routes(routes!(routes::messages::send))
        .routes(routes!(routes::alerts::list))
        .routes(routes!(routes::incidents::list))
        .routes(routes!(routes::deliveries::list))
        .routes(routes!(routes::sandboxes::list))
        .routes(routes!(routes::pools::list))
        .routes(routes!(routes::dead_letters::list))
        .routes(routes!(routes::dead_letters::redrive))
        .route_layer(middleware::from_fn_with_state(
            state.clone(),
            auth::demand_token,
        ));
    let open = OpenApiRouter::new()
        .routes(routes!(document::openapi))
        .routes(routes!(routes::health));
    let (routes, document) = guarded.merge(open).split_for_parts();
    let routes = routes
        .layer(Extension(document::Document::of(&document)))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state);
    with_fallbacks(routes)
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState")
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}
