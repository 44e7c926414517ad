//! What AWS reads of us before it believes our tokens (`OpenID` Connect Discovery 1.0).

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use nightshift_lambda::Problem;
use serde_json::json;

use crate::SessionState;

/// Where our keys are and what we sign with, if our name is an address: `https`, as the standard demands.
pub(crate) async fn discovery(State(state): State<SessionState>) -> Response {
    if !is_address(&state.issuer) {
        return Problem::not_found("this issuer is only a name").into_response();
    }
    let issuer = &*state.issuer;
    let described = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_supported": ["iss", "aud", "sub", "iat", "nbf", "exp", "jti"],
    });
    let caching = [(header::CACHE_CONTROL, "public, max-age=60")];
    (caching, Json(described)).into_response()
}

/// Whether an issuer is an `https` address that others can be given below it: host, perhaps port and path, no slash at
/// its end.
pub(crate) fn is_address(issuer: &str) -> bool {
    let url = reqwest::Url::parse(issuer);
    url.is_ok_and(|url| {
        url.scheme() == "https"
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && !issuer.ends_with('/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_address_or_only_a_name() {
        for address in ["https://session.example", "https://session.example:8443/a"] {
            assert!(is_address(address), "{address}");
        }
        for name in [
            "nightshift",
            "http://session.example",
            "https://session.example/",
            "https://session.example?a=b",
            "https://ada@session.example",
        ] {
            assert!(!is_address(name), "{name}");
        }
    }
}
