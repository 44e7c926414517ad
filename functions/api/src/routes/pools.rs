//! Pools: how many sandboxes there are, and who waits for one.

use axum::{Json, extract::State};
use nightshift_domain::PoolId;
use nightshift_lambda::Problem;
use nightshift_store::views::PoolRow;
use serde::Serialize;
use utoipa::ToSchema;

use super::OfTenant;
use crate::{
    ApiState,
    extract::Asked,
    page::{Page, Paging},
    refusal::Refusal,
};

/// A pool, its sandboxes by state, and the tickets that wait for one.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Pool {
    /// Its identity.
    #[schema(value_type = String)]
    id: PoolId,
    /// Its name.
    name: String,
    /// Where its machines are.
    region: String,
    /// What they run, by digest.
    image: String,
    /// How many ready sandboxes it should hold.
    target_ready: i32,
    /// How many sandboxes it may hold in all.
    max_sandboxes: i32,
    /// Wanted, not begun.
    planned: i64,
    /// Being made.
    provisioning: i64,
    /// Waiting for an alert.
    ready: i64,
    /// Held by investigations.
    claimed: i64,
    /// Being destroyed.
    retiring: i64,
    /// Tickets that wait.
    waiting: i64,
}

/// Lists pools and what is in them.
#[utoipa::path(get, path = "/v1/pool", tag = "platform",
    params(Paging, OfTenant),
    responses(
        (status = 200, description = "A page", body = Page<Pool>),
        (status = 400, description = "A bad cursor, limit or filter", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No token", body = Problem,
         content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(paging): Asked<Paging>,
    Asked(OfTenant { tenant }): Asked<OfTenant>,
) -> Result<Json<Page<Pool>>, Refusal> {
    let part = paging.part()?;
    let rows = state.store.view_pools(tenant, part).await?;
    Ok(Json(paging.page(rows, |row| row.id)?))
}

impl From<PoolRow> for Pool {
    fn from(row: PoolRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            region: row.region,
            image: row.image,
            target_ready: row.target_ready,
            max_sandboxes: row.max_sandboxes,
            planned: row.planned,
            provisioning: row.provisioning,
            ready: row.ready,
            claimed: row.claimed,
            retiring: row.retiring,
            waiting: row.waiting,
        }
    }
}
