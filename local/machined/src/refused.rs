//! Refusals in the provider's words.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{config::Config, state::State};

/// An answer outside 2xx.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    status: StatusCode,
    code: Option<&'static str>,
    text: String,
}

impl Refused {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            code: None,
            text: text.into(),
        }
    }

    fn coded(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            ..Self::new(status, text)
        }
    }

    pub(crate) fn invalid(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("invalid_argument: {what}"))
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Authenticate: token validation error",
        )
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("not_found: {what} not found"),
        )
    }

    pub(crate) fn not_modelled() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "unimplemented: machined does not model this call",
        )
    }

    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a call failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal: server error")
    }

    pub(crate) fn rate_limited() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "resource_exhausted: rate limit exceeded",
        )
    }

    pub(crate) fn unavailable() -> Self {
        // The text lies on purpose: a client must not read sentences off a 5xx.
        let text = "unavailable: upstream connect error, insufficient memory available to fulfill request, no capacity";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    pub(crate) fn timed_out() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "deadline_exceeded: context deadline exceeded",
        )
    }

    pub(crate) fn app_name_taken() -> Self {
        let text = "Validation failed: Name has already been taken";
        Self::coded(StatusCode::UNPROCESSABLE_ENTITY, "name_taken", text)
    }

    pub(crate) fn app_name_invalid() -> Self {
        let text = "Validation failed: Name must be under 63 chars using numbers, lowercase letters and dashes";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, text)
    }

    pub(crate) fn machine_name_taken(id: &str, name: &str) -> Self {
        let text = format!(
            "already_exists: unique machine name violation, machine ID {id} already exists with name \"{name}\""
        );
        Self::new(StatusCode::CONFLICT, text)
    }

    /// `what` is machine, app or volume.
    pub(crate) fn limit(what: &str, limit: usize) -> Self {
        let text = format!("Your organization has reached its {what} limit of {limit}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, text)
    }

    pub(crate) fn over_quota(config: &Config) -> Self {
        let (org, region) = (&config.org, &config.region);
        let text = format!(
            "organization \"{org}\" is using 65536 MB of memory in {region} which is over the allowed quota. please consider other regions"
        );
        Self::new(StatusCode::FORBIDDEN, text)
    }

    pub(crate) fn region_full(region: &str) -> Self {
        let text = format!("could not find a candidate host in region {region}");
        Self::coded(
            StatusCode::UNPROCESSABLE_ENTITY,
            "insufficient_capacity",
            text,
        )
    }

    pub(crate) fn volume_host_full(volume: &str) -> Self {
        let text = format!(
            "insufficient resources to create new machine with existing volume id '{volume}'"
        );
        Self::coded(
            StatusCode::PRECONDITION_FAILED,
            "volume_placement_capacity",
            text,
        )
    }

    pub(crate) fn host_full() -> Self {
        let text = "aborted: could not reserve resource for machine: insufficient memory available to fulfill request on the current host";
        Self::new(StatusCode::CONFLICT, text)
    }

    pub(crate) fn no_capacity() -> Self {
        Self::new(StatusCode::CONFLICT, "aborted: no capacity")
    }

    pub(crate) fn image_missing(image: &str) -> Self {
        let text = format!("failed to get manifest {image}: manifest unknown");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, text)
    }

    pub(crate) fn image_unusable(image: &str, why: &str) -> Self {
        let text = format!("failed to unpack image {image}: {why}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, text)
    }

    pub(crate) fn volume_not_found() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "volume not found")
    }

    pub(crate) fn volume_claimed(machine: &str) -> Self {
        let text = format!("failed_precondition: volume already claimed by machine {machine}");
        Self::new(StatusCode::PRECONDITION_FAILED, text)
    }

    pub(crate) fn volume_bound(machine: &str) -> Self {
        let text = format!("failed_precondition: volume is currently bound to machine: {machine}");
        Self::new(StatusCode::PRECONDITION_FAILED, text)
    }

    pub(crate) fn cannot_start_from(state: State) -> Self {
        let text =
            format!("failed_precondition: unable to start machine from current state: '{state}'");
        Self::new(StatusCode::PRECONDITION_FAILED, text)
    }

    /// Only what runs can be suspended.
    pub(crate) fn cannot_suspend_from(state: State) -> Self {
        let text =
            format!("failed_precondition: unable to suspend machine from current state: '{state}'");
        Self::new(StatusCode::PRECONDITION_FAILED, text)
    }

    pub(crate) fn still_active() -> Self {
        let text = "failed_precondition: machine still active, refusing to start";
        Self::new(StatusCode::PRECONDITION_FAILED, text)
    }

    pub(crate) fn not_stopped() -> Self {
        let text = "failed_precondition: unable to destroy machine, not currently stopped, suspended, failed or created";
        Self::new(StatusCode::PRECONDITION_FAILED, text)
    }

    pub(crate) fn app_in_use() -> Self {
        let text = "failed_precondition: app has machines that are not stopped";
        Self::new(StatusCode::PRECONDITION_FAILED, text)
    }

    pub(crate) fn version_stale() -> Self {
        let text = "failed_precondition: machine_version does not match the current version";
        Self::new(StatusCode::PRECONDITION_FAILED, text)
    }

    pub(crate) fn wait_timeout_invalid() -> Self {
        Self::invalid("invalid WaitMachineRequest.Timeout: value must be inside range [1s, 1m0s]")
    }

    pub(crate) fn wait_not_heading(wanted: &str, current: State) -> Self {
        Self::invalid(format!(
            "machine is not heading to state {wanted}, currently {current}"
        ))
    }

    pub(crate) fn wait_timed_out(wanted: &str, current: State) -> Self {
        let text = format!(
            "deadline_exceeded: machine failed to reach desired state, {wanted}, currently {current}"
        );
        Self::new(StatusCode::REQUEST_TIMEOUT, text)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = match self.code {
            Some(code) => json!({ "error": self.text, "status": code }),
            None => json!({ "error": self.text }),
        };
        (self.status, Json(body)).into_response()
    }
}
