//! What AWS has not: tests move the clock and turn the dials. Not served unless asked for.

use axum::extract::State;
use axum::routing::{post, put};
use axum::{Json, Router};
use chrono::TimeDelta;
use http::StatusCode;
use serde::Deserialize;

use crate::dials::Dials;
use crate::queues::Queues;

pub(super) fn routes() -> Router<Queues> {
    Router::new()
        .route("/_admin/clock", post(advance))
        .route("/_admin/dials", put(turn))
}

#[derive(Deserialize)]
struct Advance {
    advance_ms: u32,
}

async fn advance(State(queues): State<Queues>, Json(by): Json<Advance>) -> StatusCode {
    queues.advance(TimeDelta::milliseconds(by.advance_ms.into()));
    StatusCode::NO_CONTENT
}

async fn turn(
    State(queues): State<Queues>,
    Json(dials): Json<Dials>,
) -> Result<StatusCode, (StatusCode, String)> {
    let dials = dials
        .checked()
        .map_err(|error| (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    queues.set_dials(dials);
    Ok(StatusCode::NO_CONTENT)
}
