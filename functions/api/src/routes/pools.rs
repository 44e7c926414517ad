//! Pools: how many sandboxes there are, and who waits for one.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use nightshift_domain::PoolId;
use nightshift_lambda::Problem;
use nightshift_store::views::{BreakerRow, PoolRow, PoolSupply};
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
    /// How many ready sandboxes it should hold even when nothing happens.
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
    /// What it makes at the moment, and why so much of it; absent if it was removed meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    supply: Option<Supply>,
}

/// What a pool makes at the moment, how much of it, and what holds it up.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Supply {
    /// How many ready sandboxes it should hold now: its floor, and what is claimed while more are made.
    target: i64,
    /// Claims a second: the higher of the averages of the last minute and the last quarter of an hour.
    claims_per_s: f64,
    /// How long making one takes, in seconds (the 95th percentile of the last ones).
    provision_s: f64,
    /// The number of the image it makes; grows with each new image.
    generation: i64,
    /// Ready sandboxes of images it made before.
    ready_of_other_images: i64,
    /// Until when the provider asked to be left alone, if it did.
    paused_until: Option<DateTime<Utc>>,
    /// Whether its images are being made, newest first.
    breakers: Vec<Breaker>,
}

/// Whether an image is being made.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Breaker {
    /// The number of the image.
    generation: i64,
    /// `closed` (it is made), `open` (it is not) or `half_open` (one tries).
    state: String,
    /// When that changes by itself.
    until: Option<DateTime<Utc>>,
    /// The last outcomes, oldest first: `.` got ready, `x` failed.
    recent: String,
    /// Why the last one failed.
    last_failure: Option<String>,
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
    let mut pools = Vec::with_capacity(rows.len());
    for row in rows {
        let supply = state.store.view_supply(row.id, state.clock.now()).await?;
        pools.push(Pool {
            supply: supply.map(Supply::from),
            ..Pool::from(row)
        });
    }
    Ok(Json(paging.page(pools, |pool| pool.id)?))
}

impl From<PoolSupply> for Supply {
    fn from(supply: PoolSupply) -> Self {
        Self {
            target: supply.sizing.target,
            claims_per_s: supply.sizing.claims_per_s,
            provision_s: supply.sizing.provision_s,
            generation: supply.generation,
            ready_of_other_images: supply.ready_of_others,
            paused_until: supply.paused_until,
            breakers: supply.breakers.into_iter().map(Breaker::from).collect(),
        }
    }
}

impl From<BreakerRow> for Breaker {
    fn from(row: BreakerRow) -> Self {
        Self {
            generation: row.generation,
            state: row.state,
            until: row.until,
            recent: row.recent,
            last_failure: row.last_failure,
        }
    }
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
            supply: None,
        }
    }
}
