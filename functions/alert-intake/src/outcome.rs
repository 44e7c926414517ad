//! What became of a delivery: the answer to its sender and the line in our log, side by side.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use nightshift_engine::{
    causes,
    intake::{Accepted, IntakeError},
};
use nightshift_lambda::{Problem, SecretError};
use nightshift_protocol::Trace;
use nightshift_store::{Endpoint, StoreError};
use serde_json::json;

/// A delivery that is kept.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It held a signal.
    Taken(Accepted),
    /// It was of a kind that we do nothing about.
    Ignored {
        /// Which event.
        event: String,
    },
    /// It could not be read.
    Malformed {
        /// What is wrong with it.
        why: String,
    },
}

/// A delivery of which nothing is kept.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The body was too large, too slow or cut off.
    Unreadable(Problem),
    /// No endpoint has that address.
    NoEndpoint,
    /// Nobody with a secret of the endpoint signed it.
    NotProved,
    /// We failed; the sender should try again.
    Failed(Failure),
}

/// What failed on our side.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The store did not answer.
    #[error("the endpoint could not be looked up")]
    Store(#[source] StoreError),
    /// None of the endpoint's secrets could be read.
    #[error("no secret of the endpoint could be read")]
    Secrets(#[source] SecretError),
    /// The endpoint names a source that this version does not know.
    #[error("the endpoint's source is not known")]
    NoSource,
    /// It could not be taken in.
    #[error("the delivery could not be taken in")]
    Intake(#[source] IntakeError),
}

impl Outcome {
    /// Answers 202 and logs what was kept.
    pub(crate) fn answer(&self, endpoint: &Endpoint) -> Response {
        let (tenant, endpoint, source) = (endpoint.tenant, endpoint.id, &endpoint.source);
        let body = match self {
            Self::Taken(accepted) => {
                let answer = json!(accepted);
                tracing::info!(
                    tenant.id = %tenant,
                    endpoint.id = %endpoint,
                    source,
                    alert.id = accepted.alert.map(tracing::field::display),
                    incident.id = accepted.incident.map(tracing::field::display),
                    investigation.id = accepted.investigation.map(tracing::field::display),
                    trace.id = accepted.investigation.map(|id| Trace::of(id).id()),
                    disposition = answer["disposition"].as_str(),
                    "Took in an alert"
                );
                answer
            }
            Self::Ignored { event } => {
                tracing::info!(
                    tenant.id = %tenant, endpoint.id = %endpoint, source, event,
                    "Kept a delivery that starts nothing"
                );
                set_aside("ignored")
            }
            Self::Malformed { why } => {
                tracing::warn!(
                    tenant.id = %tenant, endpoint.id = %endpoint, source, why,
                    "Kept a delivery that could not be read"
                );
                set_aside("kept_for_inspection")
            }
        };
        (StatusCode::ACCEPTED, Json(body)).into_response()
    }
}

fn set_aside(disposition: &str) -> serde_json::Value {
    json!({"disposition": disposition, "alert": null, "incident": null, "investigation": null})
}

impl Refusal {
    /// Answers a delivery to an unknown endpoint, or one that was not looked at.
    pub(crate) fn answer(self) -> Response {
        self.log(None);
        self.into_problem().into_response()
    }

    /// Answers a delivery to `endpoint`.
    pub(crate) fn answer_for(self, endpoint: &Endpoint) -> Response {
        self.log(Some(endpoint));
        self.into_problem().into_response()
    }

    fn log(&self, endpoint: Option<&Endpoint>) {
        let tenant = endpoint.map(|endpoint| tracing::field::display(endpoint.tenant));
        let id = endpoint.map(|endpoint| tracing::field::display(endpoint.id));
        match self {
            Self::Unreadable(problem) => tracing::warn!(
                status = problem.status,
                why = problem.kind,
                "Refused a delivery unread"
            ),
            Self::NoEndpoint => tracing::warn!("Refused a delivery to an unknown address"),
            Self::NotProved => tracing::warn!(
                tenant.id = tenant,
                endpoint.id = id,
                "Refused a delivery that nobody signed"
            ),
            Self::Failed(failure) => tracing::error!(
                tenant.id = tenant,
                endpoint.id = id,
                error = causes(failure),
                "Could not take a delivery in; its sender will try again"
            ),
        }
    }

    fn into_problem(self) -> Problem {
        match self {
            Self::Unreadable(problem) => problem,
            Self::NoEndpoint => {
                Problem::not_found("no endpoint has this address; nothing was kept")
            }
            Self::NotProved => Problem::new(
                StatusCode::UNAUTHORIZED,
                "bad-signature",
                "The signature is not acceptable",
                "nothing was kept; sign the exact bytes of the body with the endpoint's secret",
            ),
            Self::Failed(_) => Problem::try_again("nothing was kept; send the same delivery again"),
        }
    }
}
