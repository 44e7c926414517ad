//! One file per thing that an operator asks about: its JSON and its routes.

pub(crate) mod alerts;
pub(crate) mod dead_letters;
pub(crate) mod deliveries;
pub(crate) mod events;
pub(crate) mod incidents;
pub(crate) mod investigations;
pub(crate) mod messages;
pub(crate) mod pools;
pub(crate) mod sandboxes;

use nightshift_domain::TenantId;
use serde::Deserialize;
use utoipa::IntoParams;

/// Whose things.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfTenant {
    /// Only what belongs to this tenant.
    #[param(value_type = Option<String>, example = "ten_0192f0c1000070008000000000000001")]
    pub(crate) tenant: Option<TenantId>,
}

/// Whether this process answers.
#[utoipa::path(get, path = "/healthz", tag = "platform", security(()),
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
pub(crate) async fn health() -> &'static str {
    "ok"
}
