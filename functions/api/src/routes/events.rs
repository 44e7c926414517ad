//! What happens to an investigation, as it happens.

use std::time::Duration;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use nightshift_domain::InvestigationId;
use nightshift_lambda::Problem;
use nightshift_store::StoredEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use utoipa::{IntoParams, ToSchema};

use super::OfTenant;
use crate::{
    ApiState,
    extract::{Asked, Named},
    refusal::Refusal,
};

/// The longest that a request may wait, in milliseconds; gateways give up after 30 s.
const MAX_WAIT_MS: u32 = 25_000;

/// Something that happened to an investigation.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Event {
    /// Its place in the log; grows.
    seq: i64,
    /// When.
    at: DateTime<Utc>,
    /// What: `accepted`, `claimed`, `started`, `attested`, `working`, `evidence`, `reported`, …
    kind: String,
    /// More about it.
    #[schema(value_type = Object)]
    detail: Value,
}

/// Events, oldest first, at most 500.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Events {
    /// The events.
    items: Vec<Event>,
    /// Give this as `after` to go on from here.
    next_after: i64,
}

/// Which events.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Since {
    /// Only those after this place.
    #[serde(default)]
    after: i64,
    /// How long to wait for one where there is none yet, in milliseconds; at most 25000.
    #[serde(default)]
    wait_ms: u32,
}

/// Reads what happened to an investigation, waiting for news if asked to.
#[utoipa::path(get, path = "/v1/investigations/{id}/events", tag = "investigations",
    params(("id" = String, Path, description = "The investigation"), OfTenant, Since),
    responses(
        (status = 200, description = "What happened; empty if nothing did", body = Events),
        (status = 400, description = "Not an identifier", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No token", body = Problem,
         content_type = "application/problem+json"),
        (status = 404, description = "There is none", body = Problem,
         content_type = "application/problem+json")))]
pub(crate) async fn follow(
    State(state): State<ApiState>,
    Named(id): Named<InvestigationId>,
    Asked(OfTenant { tenant }): Asked<OfTenant>,
    Asked(Since { after, wait_ms }): Asked<Since>,
) -> Result<Json<Events>, Refusal> {
    let patience = Duration::from_millis(wait_ms.min(MAX_WAIT_MS).into());
    let until = Instant::now() + patience;
    if state.store.view_investigation(tenant, id).await?.is_none() {
        return Err(Refusal::unknown(id));
    }
    // Wait first, look second: what happens between the two is not missed.
    let mut waiting = (!patience.is_zero()).then(|| state.feed.wait());
    loop {
        let events = state.store.events_after(tenant, id, after).await?;
        let news = match &mut waiting {
            Some(waiting) if events.is_empty() => timeout_at(until, waiting.for_news()).await,
            _ => return Ok(Json(Events::after(after, events))),
        };
        if news.is_err() {
            // One last look: a signal may have been lost.
            waiting = None;
        }
    }
}

impl Events {
    fn after(after: i64, events: Vec<StoredEvent>) -> Self {
        let next_after = events.last().map_or(after, |event| event.seq);
        Self {
            items: events.into_iter().map(Event::from).collect(),
            next_after,
        }
    }
}

impl From<StoredEvent> for Event {
    fn from(
        StoredEvent {
            seq,
            at,
            kind,
            detail,
        }: StoredEvent,
    ) -> Self {
        Self {
            seq,
            at,
            kind,
            detail,
        }
    }
}
