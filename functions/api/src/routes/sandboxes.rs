//! Sandboxes: the machines that investigations run on.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use nightshift_domain::{InvestigationId, PoolId, SandboxId, TenantId};
use nightshift_lambda::Problem;
use nightshift_store::views::SandboxRow;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{OfTenant, investigations::known_state};
use crate::{
    ApiState,
    extract::Asked,
    page::{Page, Paging},
    refusal::Refusal,
};

const STATES: [&str; 6] = [
    "planned",
    "provisioning",
    "ready",
    "claimed",
    "retiring",
    "gone",
];

/// One machine with its volume and network, for one investigation.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Sandbox {
    /// Its identity.
    #[schema(value_type = String)]
    id: SandboxId,
    /// The pool it was made for.
    #[schema(value_type = String)]
    pool: PoolId,
    /// `planned`, `provisioning`, `ready`, `claimed`, `retiring` or `gone`.
    state: String,
    /// Whose it is or was.
    #[schema(value_type = Option<String>)]
    investigation: Option<InvestigationId>,
    /// The tenant of that investigation.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantId>,
    /// The last start that was granted.
    epoch: i64,
    /// What the provider calls its app and network.
    app: Option<String>,
    /// What the provider calls its machine.
    machine: Option<String>,
    /// What the provider calls its volume.
    volume: Option<String>,
    /// Why it is or was retired.
    reason: Option<String>,
    /// When it was planned.
    created_at: DateTime<Utc>,
    /// When it became ready.
    ready_at: Option<DateTime<Utc>>,
}

/// Which sandboxes.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only those in this state.
    state: Option<String>,
}

/// Lists sandboxes that exist; those that are gone only with `state=gone`.
#[utoipa::path(get, path = "/v1/sandboxes", tag = "platform",
    params(Paging, OfTenant, Filter),
    responses(
        (status = 200, description = "A page", body = Page<Sandbox>),
        (status = 400, description = "A bad cursor, limit or filter", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No token", body = Problem,
         content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(paging): Asked<Paging>,
    Asked(OfTenant { tenant }): Asked<OfTenant>,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Page<Sandbox>>, Refusal> {
    let part = paging.part()?;
    let wanted = known_state(filter.state.as_deref(), &STATES)?;
    let rows = state.store.view_sandboxes(tenant, wanted, part).await?;
    Ok(Json(paging.page(rows, |row| row.id)?))
}

impl From<SandboxRow> for Sandbox {
    fn from(row: SandboxRow) -> Self {
        Self {
            id: row.id,
            pool: row.pool,
            state: row.state,
            investigation: row.investigation,
            tenant: row.tenant,
            epoch: row.epoch,
            app: row.app,
            machine: row.machine,
            volume: row.volume,
            reason: row.reason,
            created_at: row.created_at,
            ready_at: row.ready_at,
        }
    }
}
