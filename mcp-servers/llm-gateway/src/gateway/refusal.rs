//! Refusals in the provider's own shape, so that any client of its API understands them.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode};
use nightshift_mcp_kit::limits::BodyRefused;
use nightshift_protocol::messages::{ErrorAnswer, ErrorDetail};

use super::{budget::OverBudget, policy::NotAllowed};
use crate::provider::ProviderError;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The token is missing, wrong, or given twice and not the same.
    #[error("the run token is missing or not accepted")]
    Token,
    /// The token does not cover the model.
    #[error("the run token does not allow asking a model")]
    Scope,
    /// Nothing is served there.
    #[error("there is nothing at this path")]
    UnknownPath,
    /// The body is larger than we take.
    #[error("the request is larger than {} MiB", super::REQUEST_BYTES / 1024 / 1024)]
    TooLarge,
    /// The body did not arrive in time.
    #[error("the request did not arrive in time")]
    TooSlow,
    /// The request cannot be understood.
    #[error("{0}")]
    Invalid(String),
    /// The request asks for what a run may not have.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// The run has used what it may.
    #[error(transparent)]
    Budget(#[from] OverBudget),
    /// Whether the run is live cannot be known just now.
    #[error("the gateway cannot check the run just now")]
    Unavailable,
    /// No provider answered.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

impl Refusal {
    /// How the audit calls it: refused by us, or failed at the provider.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::Provider(_) | Self::Unavailable => "failed",
            Self::Token
            | Self::Scope
            | Self::UnknownPath
            | Self::TooLarge
            | Self::TooSlow
            | Self::Invalid(_)
            | Self::NotAllowed(_)
            | Self::Budget(_) => "refused",
        }
    }

    fn parts(&self) -> (StatusCode, &'static str, bool) {
        match self {
            Self::Token => (StatusCode::UNAUTHORIZED, "authentication_error", false),
            Self::Scope => (StatusCode::FORBIDDEN, "permission_error", false),
            Self::UnknownPath | Self::NotAllowed(NotAllowed::Model(_)) => {
                (StatusCode::NOT_FOUND, "not_found_error", false)
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", false),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "timeout_error", false),
            Self::Invalid(_) | Self::NotAllowed(_) => {
                (StatusCode::BAD_REQUEST, "invalid_request_error", false)
            }
            Self::Budget(OverBudget::Tokens { .. }) => {
                (StatusCode::BAD_REQUEST, "billing_error", false)
            }
            Self::Budget(OverBudget::Busy { .. } | OverBudget::TenantBusy { .. }) => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", true)
            }
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "api_error", true),
            Self::Provider(ProviderError::Unreachable { .. }) => {
                (status_of_overload(), "overloaded_error", true)
            }
            Self::Provider(ProviderError::Misconfigured) => {
                (StatusCode::BAD_GATEWAY, "api_error", false)
            }
        }
    }
}

impl From<BodyRefused> for Refusal {
    fn from(refused: BodyRefused) -> Self {
        match refused {
            BodyRefused::TooLarge => Self::TooLarge,
            BodyRefused::TooSlow => Self::TooSlow,
            BodyRefused::TooDeep => Self::Invalid(refused.to_string()),
        }
    }
}

/// The provider's own status for "too busy".
fn status_of_overload() -> StatusCode {
    StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, kind, retry) = self.parts();
        let body = ErrorAnswer {
            kind: "error".to_owned(),
            error: ErrorDetail {
                kind: kind.to_owned(),
                message: self.to_string(),
            },
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        let retry_text = if retry { "true" } else { "false" };
        headers.insert("x-should-retry", HeaderValue::from_static(retry_text));
        if retry {
            headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
