//! Dead letters: steps that failed too often and wait for a person, who can send them on their way again.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use nightshift_engine::dead_letters;
use nightshift_lambda::Problem;
use nightshift_store::views::DeadLetterRow;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::OfTenant;
use crate::{
    ApiState,
    extract::{Asked, Named},
    page::{Page, Paging},
    refusal::Refusal,
};

/// A step that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    /// Its place in the outbox.
    id: i64,
    /// Which step: `dispatch`, `provision`, …
    kind: String,
    /// The pool or tenant in whose queue it was.
    group_key: String,
    /// The step as it was written.
    #[schema(value_type = Object)]
    payload: Value,
    /// How often it was tried.
    attempts: i32,
    /// When it was written.
    created_at: DateTime<Utc>,
    /// When it was given up.
    dead_at: DateTime<Utc>,
    /// What happened the last time.
    last_error: Option<String>,
}

/// Lists steps that were given up.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "platform",
    params(Paging, OfTenant),
    responses(
        (status = 200, description = "A page", body = Page<DeadLetter>),
        (status = 400, description = "A bad cursor, limit or filter", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No token", body = Problem,
         content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(paging): Asked<Paging>,
    Asked(OfTenant { tenant }): Asked<OfTenant>,
) -> Result<Json<Page<DeadLetter>>, Refusal> {
    let part = paging.part()?;
    let rows = state.store.view_dead_letters(tenant, part).await?;
    Ok(Json(paging.page(rows, |row| row.id)?))
}

/// Sends a step that was given up on its way again, due now and with all its attempts.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/redrive", tag = "platform",
    params(("id" = i64, Path, description = "Its place in the outbox")),
    responses(
        (status = 202, description = "It is on its way"),
        (status = 400, description = "Not a number", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No token", body = Problem,
         content_type = "application/problem+json"),
        (status = 404, description = "None of that number was given up", body = Problem,
         content_type = "application/problem+json")))]
pub(crate) async fn redrive(
    State(state): State<ApiState>,
    Named(id): Named<i64>,
) -> Result<StatusCode, Refusal> {
    dead_letters::redrive(&state.store, &*state.clock, id).await?;
    Ok(StatusCode::ACCEPTED)
}

impl From<DeadLetterRow> for DeadLetter {
    fn from(row: DeadLetterRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            group_key: row.group_key,
            payload: row.payload,
            attempts: row.attempts,
            created_at: row.created_at,
            dead_at: row.dead_at,
            last_error: row.last_error,
        }
    }
}
