//! Deliveries: what came in, understood or not.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use nightshift_domain::{DeliveryId, EndpointId, TenantId};
use nightshift_lambda::Problem;
use nightshift_store::views::DeliveryRow;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{OfTenant, investigations::known_state};
use crate::{
    ApiState,
    extract::Asked,
    page::{Page, Paging},
    refusal::Refusal,
};

const DISPOSITIONS: [&str; 3] = ["signal", "ignored", "malformed"];

/// An authentic delivery.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Delivery {
    /// Its identity.
    #[schema(value_type = String)]
    id: DeliveryId,
    /// Whose.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// Where it came in.
    #[schema(value_type = String)]
    endpoint: EndpointId,
    /// Which kind of sender.
    source: String,
    /// The sender's identity of it; the same across its attempts.
    key: String,
    /// `signal`, `ignored` or `malformed`.
    disposition: String,
    /// Which event it was, or what is wrong with it.
    detail: Option<String>,
    /// The first 8 KB of its body, as far as it is text.
    body: String,
    /// When it came.
    received_at: DateTime<Utc>,
}

/// Which deliveries.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only `signal`, `ignored` or `malformed` ones.
    disposition: Option<String>,
}

/// Lists deliveries; those that could not be read are `malformed`.
#[utoipa::path(get, path = "/v1/deliveries", tag = "intake",
    params(Paging, OfTenant, Filter),
    responses(
        (status = 200, description = "A page", body = Page<Delivery>),
        (status = 400, description = "A bad cursor, limit or filter", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No token", body = Problem,
         content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(paging): Asked<Paging>,
    Asked(OfTenant { tenant }): Asked<OfTenant>,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Page<Delivery>>, Refusal> {
    let part = paging.part()?;
    let wanted = known_state(filter.disposition.as_deref(), &DISPOSITIONS)?;
    let rows = state.store.view_deliveries(tenant, wanted, part).await?;
    Ok(Json(paging.page(rows, |row| row.id)?))
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            id: row.id,
            tenant: row.tenant,
            endpoint: row.endpoint,
            source: row.source,
            key: row.delivery_key,
            disposition: row.disposition,
            detail: row.detail,
            body: row.body,
            received_at: row.received_at,
        }
    }
}
