//! Alerts: what their senders said.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use nightshift_domain::{AlertId, IncidentId, TenantId};
use nightshift_lambda::Problem;
use nightshift_store::views::AlertRow;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::OfTenant;
use crate::{
    ApiState,
    extract::Asked,
    page::{Page, Paging},
    refusal::Refusal,
};

/// A signal that fired or recovered.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Alert {
    /// Its identity.
    #[schema(value_type = String)]
    id: AlertId,
    /// Whose it is.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// The incident it belongs to.
    #[schema(value_type = String)]
    incident: IncidentId,
    /// Which kind of sender: `pagerduty`, `generic`, …
    source: String,
    /// The sender's identity of what fired.
    source_key: String,
    /// `firing` or `resolved`.
    status: String,
    /// One line.
    title: String,
    /// The service it is about.
    service: Option<String>,
    /// `critical`, `high`, `warning` or `info`.
    severity: String,
    /// When it fired, says the sender.
    fired_at: DateTime<Utc>,
    /// When we accepted it.
    received_at: DateTime<Utc>,
    /// A page about it at the sender.
    link: Option<String>,
    /// What else the sender said.
    #[schema(value_type = Object)]
    details: Value,
}

/// Which alerts.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only those of this incident.
    #[param(value_type = Option<String>)]
    incident: Option<IncidentId>,
}

/// Lists alerts.
#[utoipa::path(get, path = "/v1/alerts", tag = "intake",
    params(Paging, OfTenant, Filter),
    responses(
        (status = 200, description = "A page", body = Page<Alert>),
        (status = 400, description = "A bad cursor, limit or filter", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No token", body = Problem,
         content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(paging): Asked<Paging>,
    Asked(OfTenant { tenant }): Asked<OfTenant>,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Page<Alert>>, Refusal> {
    let part = paging.part()?;
    let rows = state
        .store
        .view_alerts(tenant, filter.incident, part)
        .await?;
    Ok(Json(paging.page(rows, |row| row.id)?))
}

impl From<AlertRow> for Alert {
    fn from(row: AlertRow) -> Self {
        Self {
            id: row.id,
            tenant: row.tenant,
            incident: row.incident,
            source: row.source,
            source_key: row.source_key,
            status: row.status,
            title: row.title,
            service: row.service,
            severity: row.severity,
            fired_at: row.fired_at,
            received_at: row.received_at,
            link: row.link,
            details: row.details,
        }
    }
}
