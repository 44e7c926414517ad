//! The internal API: what servers without a database must know of a run, and where they put what
//! it saw. Served on a listener that no sandbox reaches, to services that prove who they are.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Extension, Path, Query, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header::AUTHORIZATION};
use nightshift_controls::{Control, holds};
use nightshift_domain::{Epoch, InvestigationId};
use nightshift_mcp_kit::{
    Runs,
    fit::{ANSWER_BYTES, json_bytes},
    hosts::{self, Hosts},
    limits::{self, RequestLimits},
    serve,
};
use nightshift_protocol::run::{
    EvidenceRecorded, RecordCall, RecordEvidence, RecordModelUse, RunStatus,
};
use serde::Deserialize;
use serde_json::json;

use crate::{CaseError, Cases, Credentials, InternalRuns, Service};

/// The largest request that is read, in bytes: an answer, its arguments and what is around them.
const REQUEST_BYTES: usize = 512 * 1024;
/// How long a request may take to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// The internal API's routes, and `GET /healthz` beside them. Servers ask under one of `names`.
pub fn routes(cases: Cases, credentials: Credentials, names: Hosts) -> Router {
    let limits = RequestLimits {
        bytes: REQUEST_BYTES,
        time: REQUEST_TIME,
    };
    let runs = Router::new()
        .route("/internal/v1/runs/{investigation}", get(status))
        .route("/internal/v1/runs/{investigation}/evidence", post(evidence))
        .route("/internal/v1/runs/{investigation}/calls", post(calls))
        .route("/internal/v1/runs/{investigation}/model", post(model))
        .layer(DefaultBodyLimit::disable())
        .with_state(cases);
    let runs =
        limits::bounded(runs, limits).layer(from_fn_with_state(Arc::new(credentials), identify));
    serve::with_health(hosts::only(runs, names))
}

/// Why a service's request was not carried out.
enum Refusal {
    /// The run is not live at that epoch.
    NotLive,
    /// The request is not one that this service may make.
    NotYours(&'static str),
    /// The request makes no sense.
    Malformed(&'static str),
    /// We failed.
    Failed,
}

impl From<CaseError> for Refusal {
    fn from(error: CaseError) -> Self {
        match error {
            CaseError::NotLive => Self::NotLive,
            CaseError::Unknown(_)
            | CaseError::Malformed
            | CaseError::Contended
            | CaseError::Store(_) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    cause = std::error::Error::source(&error),
                    "An internal request failed"
                );
                Self::Failed
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::NotLive => (StatusCode::CONFLICT, "the run is not live at this epoch"),
            Self::NotYours(what) => (StatusCode::FORBIDDEN, what),
            Self::Malformed(what) => (StatusCode::UNPROCESSABLE_ENTITY, what),
            Self::Failed => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the casebook cannot do that now",
            ),
        };
        (status, Json(json!({ "error": error }))).into_response()
    }
}

async fn identify(
    State(credentials): State<Arc<Credentials>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let service = match (values.next(), values.next()) {
        (Some(value), None) => value
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix("Bearer "))
            .and_then(|secret| credentials.service(secret)),
        _ => None,
    };
    let service = service.or_else(|| credentials.anyone());
    let Some(service) = service else {
        tracing::warn!(path = request.uri().path(), "Refused an unknown service");
        return (
            StatusCode::UNAUTHORIZED,
            Json(json!({ "error": "unauthorized" })),
        )
            .into_response();
    };
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(service);
    next.run(request).await
}

#[derive(Deserialize)]
struct AtEpoch {
    epoch: Epoch,
}

async fn status(
    State(cases): State<Cases>,
    Path(investigation): Path<InvestigationId>,
    Query(AtEpoch { epoch }): Query<AtEpoch>,
) -> Result<Json<RunStatus>, Response> {
    match InternalRuns(cases).status(investigation, epoch).await {
        Ok(Some(status)) => Ok(Json(status)),
        Ok(None) => {
            let error = json!({ "error": "no such run is live" });
            Err((StatusCode::NOT_FOUND, Json(error)).into_response())
        }
        Err(_) => Err(Refusal::Failed.into_response()),
    }
}

async fn evidence(
    State(cases): State<Cases>,
    Extension(service): Extension<Service>,
    Path(investigation): Path<InvestigationId>,
    Json(new): Json<RecordEvidence>,
) -> Result<Json<EvidenceRecorded>, Refusal> {
    if !service.owns(&new.tool) && holds(Control::ServiceOwnTools) {
        return Err(Refusal::NotYours(
            "a service records what its own tools saw",
        ));
    }
    if json_bytes(&new.content).is_none_or(|bytes| bytes > ANSWER_BYTES)
        && holds(Control::OutputSize)
    {
        return Err(Refusal::Malformed("an answer takes at most 64 KiB"));
    }
    let evidence = cases.record(service.name(), investigation, new).await?;
    Ok(Json(EvidenceRecorded { evidence }))
}

async fn calls(
    State(cases): State<Cases>,
    Extension(service): Extension<Service>,
    Path(investigation): Path<InvestigationId>,
    Json(call): Json<RecordCall>,
) -> Result<StatusCode, Refusal> {
    if !service.owns(&call.tool) {
        return Err(Refusal::NotYours(
            "a service records the calls of its own tools",
        ));
    }
    if !["refused", "failed", "answered"].contains(&call.outcome.as_str()) {
        return Err(Refusal::Malformed(
            "an outcome is `refused`, `failed` or `answered`",
        ));
    }
    cases
        .record_call(service.name(), investigation, call)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn model(
    State(cases): State<Cases>,
    Extension(service): Extension<Service>,
    Path(investigation): Path<InvestigationId>,
    Json(used): Json<RecordModelUse>,
) -> Result<StatusCode, Refusal> {
    if !service.asks_the_model() {
        return Err(Refusal::NotYours("only the gateway asks the model"));
    }
    cases.record_model_use(investigation, &used).await?;
    Ok(StatusCode::NO_CONTENT)
}
