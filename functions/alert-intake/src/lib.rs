//! Takes alerts in: `POST /v1/hooks/{path_token}`.
//!
//! Parse, prove, one use case, answer. Whatever its sender signed is kept before we answer 2xx;
//! whatever we could not keep is answered so that the sender tries again.

mod gate;
mod outcome;
mod receive;
mod source;

use std::{fmt, sync::Arc};

use axum::{Extension, Router, extract::DefaultBodyLimit, routing::post};
use nightshift_engine::Clock;
use nightshift_lambda::{Secrets, http::with_manners};
use nightshift_store::Store;

/// The largest body we take, in bytes. `PagerDuty` sends none above this.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// What the router needs.
#[derive(Clone)]
pub struct IntakeState {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the endpoints' signing secrets are.
    pub secrets: Arc<dyn Secrets>,
}

/// The routes of alert intake.
pub fn router(state: IntakeState) -> Router {
    let hooks = Router::new()
        .route("/v1/hooks/{path_token}", post(receive::receive))
        // We count the bytes ourselves, so that the answer says what happened.
        .layer(DefaultBodyLimit::disable())
        .layer(Extension(gate::Gate::new()))
        .with_state(state);
    with_manners(hooks)
}

impl fmt::Debug for IntakeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntakeState")
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}
