//! What this server says about itself to those who have no token yet (RFC 9728).

use axum::{
    Json,
    http::header,
    response::IntoResponse,
    routing::{MethodRouter, get},
};
use nightshift_domain::Scope;
use nightshift_protocol::proof::PROOF_ALGORITHM;
use reqwest::Url;
use serde::Serialize;

use crate::TokenRules;

/// Where the metadata of a protected resource is, below its origin.
pub(crate) const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// The metadata of a protected resource, with the members that are of use to our callers.
#[derive(Debug, Clone, Serialize)]
struct ProtectedResource {
    resource: String,
    resource_name: String,
    authorization_servers: [String; 1],
    scopes_supported: Vec<Scope>,
    bearer_methods_supported: [&'static str; 1],
    dpop_signing_alg_values_supported: [&'static str; 1],
    dpop_bound_access_tokens_required: bool,
}

impl ProtectedResource {
    fn of(rules: &TokenRules) -> Self {
        Self {
            resource: origin_of(&rules.origin),
            resource_name: format!("Nightshift {}", rules.audience.server()),
            authorization_servers: [rules.issuer.clone()],
            scopes_supported: rules.audience.scopes().to_vec(),
            bearer_methods_supported: ["header"],
            dpop_signing_alg_values_supported: [PROOF_ALGORITHM],
            dpop_bound_access_tokens_required: true,
        }
    }
}

/// The address of the metadata, for the challenges of the gate.
pub(crate) fn address(origin: &Url) -> String {
    format!("{}{METADATA_PATH}", origin_of(origin))
}

/// Tells it, without a token.
pub(crate) fn answer(rules: &TokenRules) -> MethodRouter {
    let told = Json(ProtectedResource::of(rules));
    get(async move || {
        let headers = [(header::CACHE_CONTROL, "public, max-age=300")];
        (headers, told.clone()).into_response()
    })
}

/// The origin without the path that a URL always has.
fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}
