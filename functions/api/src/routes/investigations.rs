//! Investigations: who works on what, how far it is, and what was found.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use nightshift_domain::{
    AlertId, IncidentId, InvestigationId, Report, SandboxId, TenantId, alert::Signal,
};
use nightshift_lambda::Problem;
use nightshift_store::views::InvestigationRow;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{OfTenant, messages::Message};
use crate::{
    ApiState,
    document::report_schema,
    extract::{Asked, Named},
    page::{Page, Paging},
    refusal::Refusal,
};

const STATES: [&str; 8] = [
    "queued",
    "claimed",
    "starting",
    "working",
    "resting",
    "concluded",
    "cancelled",
    "failed",
];

/// An investigation of an alert.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Investigation {
    /// Its identity.
    #[schema(value_type = String, example = "inv_0192f0c1000070008000000000000001")]
    id: InvestigationId,
    /// Whose it is.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// What it is about.
    #[schema(value_type = String)]
    incident: IncidentId,
    /// The alert that opened it.
    #[schema(value_type = String)]
    alert: AlertId,
    /// `queued`, `claimed`, `starting`, `working`, `resting`, `concluded`, `cancelled`, `failed`.
    state: String,
    /// The alert in one line.
    title: String,
    /// The service the alert is about.
    service: Option<String>,
    /// `critical`, `high`, `warning` or `info`.
    severity: String,
    /// When the alert fired, says its sender.
    fired_at: DateTime<Utc>,
    /// When the alert was accepted.
    created_at: DateTime<Utc>,
    /// When it ended.
    ended_at: Option<DateTime<Utc>>,
    /// Why it failed or was cancelled.
    reason: Option<String>,
    /// The sandbox it holds.
    #[schema(value_type = Option<String>)]
    sandbox: Option<SandboxId>,
    /// The start of that sandbox that may speak for it.
    epoch: Option<i64>,
    /// How often its sandbox was started again after going silent.
    restarts: i32,
    /// Its place among those that wait for a sandbox; smaller is earlier.
    waiting_place: Option<i64>,
}

/// An investigation with everything known about it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct InvestigationDetail {
    #[serde(flatten)]
    investigation: Investigation,
    /// What the alert's sender said.
    #[schema(value_type = Object)]
    signal: Option<Signal>,
    /// When each kind of event first happened, in milliseconds after the alert was accepted.
    timings: BTreeMap<String, i64>,
    /// What was found, once there is a report.
    #[schema(schema_with = report_schema)]
    report: Option<Report>,
    /// When the report was settled.
    reported_at: Option<DateTime<Utc>>,
    /// Questions and answers, oldest first.
    messages: Vec<Message>,
}

/// Which investigations.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only those in this state.
    state: Option<String>,
}

/// Lists investigations.
#[utoipa::path(get, path = "/v1/investigations", tag = "investigations",
    params(Paging, OfTenant, Filter),
    responses(
        (status = 200, description = "A page", body = Page<Investigation>),
        (status = 400, description = "A bad cursor, limit, tenant or state", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No token", body = Problem,
         content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(paging): Asked<Paging>,
    Asked(OfTenant { tenant }): Asked<OfTenant>,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Page<Investigation>>, Refusal> {
    let part = paging.part()?;
    let wanted = known_state(filter.state.as_deref(), &STATES)?;
    let rows = state
        .store
        .view_investigations(tenant, wanted, part)
        .await?;
    Ok(Json(paging.page(rows, |row| row.id)?))
}

/// Reads one investigation.
#[utoipa::path(get, path = "/v1/investigations/{id}", tag = "investigations",
    params(("id" = String, Path, description = "The investigation"), OfTenant),
    responses(
        (status = 200, description = "The investigation", body = InvestigationDetail),
        (status = 400, description = "Not an identifier", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No token", body = Problem,
         content_type = "application/problem+json"),
        (status = 404, description = "There is none", body = Problem,
         content_type = "application/problem+json")))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    Named(id): Named<InvestigationId>,
    Asked(OfTenant { tenant }): Asked<OfTenant>,
) -> Result<Json<InvestigationDetail>, Refusal> {
    let store = &state.store;
    let row = store.view_investigation(tenant, id).await?;
    let row = row.ok_or_else(|| Refusal::unknown(id))?;
    let accepted = row.created_at;
    let stages = store.view_stages(row.tenant, id).await?;
    let alert = store.alert(row.tenant, row.alert).await?;
    let report = store.report_of(row.tenant, id).await?;
    let messages = store.messages_of(row.tenant, id).await?;
    Ok(Json(InvestigationDetail {
        investigation: row.into(),
        signal: alert.map(|alert| alert.signal),
        timings: stages
            .into_iter()
            .map(|stage| (stage.kind, (stage.at - accepted).num_milliseconds()))
            .collect(),
        reported_at: report.as_ref().map(|report| report.submitted_at),
        report: report.map(|report| report.report),
        messages: messages.into_iter().map(Message::from).collect(),
    }))
}

/// Passes a state that exists, and no state.
pub(crate) fn known_state<'a>(
    wanted: Option<&'a str>,
    known: &[&str],
) -> Result<Option<&'a str>, Problem> {
    match wanted {
        Some(state) if !known.contains(&state) => {
            let (bad, title) = (StatusCode::BAD_REQUEST, "There is no such state");
            let detail = format!("state must be one of {}", known.join(", "));
            Err(Problem::new(bad, "bad-state", title, detail))
        }
        _ => Ok(wanted),
    }
}

impl From<InvestigationRow> for Investigation {
    fn from(row: InvestigationRow) -> Self {
        Self {
            id: row.id,
            tenant: row.tenant,
            incident: row.incident,
            alert: row.alert,
            state: row.state,
            title: row.title,
            service: row.service,
            severity: row.severity,
            fired_at: row.fired_at,
            created_at: row.created_at,
            ended_at: row.ended_at,
            reason: row.reason,
            sandbox: row.sandbox,
            epoch: row.epoch,
            restarts: row.restarts,
            waiting_place: row.waiting_place,
        }
    }
}
