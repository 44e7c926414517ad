//! Questions from people to the agent of an investigation.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use nightshift_domain::{InvestigationId, MessageId};
use nightshift_engine::message;
use nightshift_lambda::Problem;
use nightshift_store::StoredMessage;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::OfTenant;
use crate::{
    ApiState,
    extract::{Asked, Named, Said},
    refusal::Refusal,
};

/// The longest name of an author, in characters.
const MAX_AUTHOR: usize = 200;
/// The longest question, in characters.
const MAX_TEXT: usize = 8_000;

/// A question and, once there is one, its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Message {
    /// Its identity.
    #[schema(value_type = String)]
    id: MessageId,
    /// Who asked.
    author: String,
    /// What.
    text: String,
    /// When.
    at: DateTime<Utc>,
    /// The agent's answer.
    answer: Option<String>,
}

/// A question to ask.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMessage {
    /// Who asks.
    #[schema(max_length = 200)]
    author: String,
    /// What.
    #[schema(max_length = 8000)]
    text: String,
}

/// A question that was passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Sent {
    /// Its identity; the answer appears with it in the investigation.
    #[schema(value_type = String)]
    message: MessageId,
}

/// Asks the agent of an investigation something. A resting one is started again for it.
#[utoipa::path(post, path = "/v1/investigations/{id}/messages", tag = "investigations",
    params(("id" = String, Path, description = "The investigation"), OfTenant),
    request_body = NewMessage,
    responses(
        (status = 202, description = "Passed on", body = Sent),
        (status = 400, description = "Not an identifier, or not a message", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No token", body = Problem,
         content_type = "application/problem+json"),
        (status = 404, description = "There is none", body = Problem,
         content_type = "application/problem+json"),
        (status = 409, description = "It is over", body = Problem,
         content_type = "application/problem+json")))]
pub(crate) async fn send(
    State(state): State<ApiState>,
    Named(id): Named<InvestigationId>,
    Asked(OfTenant { tenant }): Asked<OfTenant>,
    Said(new): Said<NewMessage>,
) -> Result<(StatusCode, Json<Sent>), Refusal> {
    check("author", &new.author, MAX_AUTHOR)?;
    check("text", &new.text, MAX_TEXT)?;
    let (store, clock) = (&state.store, &*state.clock);
    let message = message::send(store, clock, tenant, id, &new.author, &new.text).await?;
    Ok((StatusCode::ACCEPTED, Json(Sent { message })))
}

fn check(field: &str, text: &str, max_chars: usize) -> Result<(), Problem> {
    if text.trim().is_empty() {
        Err(Problem::bad_request(format!(
            "{field} is empty; nothing was sent"
        )))
    } else if text.chars().count() > max_chars {
        Err(Problem::bad_request(format!(
            "{field} has more than {max_chars} characters"
        )))
    } else if text.contains('\0') {
        Err(Problem::bad_request(format!(
            "{field} contains a NUL character"
        )))
    } else {
        Ok(())
    }
}

impl From<StoredMessage> for Message {
    fn from(
        StoredMessage {
            id,
            author,
            body,
            at,
            answer,
        }: StoredMessage,
    ) -> Self {
        Self {
            id,
            author,
            text: body,
            at,
            answer,
        }
    }
}
