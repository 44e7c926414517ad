//! Incidents: alerts that belong together.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use nightshift_domain::{IncidentId, InvestigationId, TenantId};
use nightshift_lambda::Problem;
use nightshift_store::views::IncidentRow;
use serde::Serialize;
use utoipa::ToSchema;

use super::OfTenant;
use crate::{
    ApiState,
    extract::Asked,
    page::{Page, Paging},
    refusal::Refusal,
};

/// Alerts that belong together by their sender's own identity.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Incident {
    /// Its identity.
    #[schema(value_type = String)]
    id: IncidentId,
    /// Whose it is.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// Which kind of sender.
    source: String,
    /// The sender's identity of it.
    source_key: String,
    /// The first alert in one line.
    title: String,
    /// `open` or `resolved`.
    status: String,
    /// When we first heard of it.
    opened_at: DateTime<Utc>,
    /// When its sender said that it is over.
    resolved_at: Option<DateTime<Utc>>,
    /// How many alerts belong to it.
    alerts: i64,
    /// Its newest investigation.
    #[schema(value_type = Option<String>)]
    investigation: Option<InvestigationId>,
}

/// Lists incidents.
#[utoipa::path(get, path = "/v1/incidents", tag = "intake",
    params(Paging, OfTenant),
    responses(
        (status = 200, description = "A page", body = Page<Incident>),
        (status = 400, description = "A bad cursor, limit or filter", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No token", body = Problem,
         content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(paging): Asked<Paging>,
    Asked(OfTenant { tenant }): Asked<OfTenant>,
) -> Result<Json<Page<Incident>>, Refusal> {
    let part = paging.part()?;
    let rows = state.store.view_incidents(tenant, part).await?;
    Ok(Json(paging.page(rows, |row| row.id)?))
}

impl From<IncidentRow> for Incident {
    fn from(row: IncidentRow) -> Self {
        Self {
            id: row.id,
            tenant: row.tenant,
            source: row.source,
            source_key: row.source_key,
            title: row.title,
            status: row.status,
            opened_at: row.opened_at,
            resolved_at: row.resolved_at,
            alerts: row.alerts,
            investigation: row.investigation,
        }
    }
}
