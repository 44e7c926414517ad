//! How a machine that gets nothing is told so: as little as it needs to know what to do.

use axum::{
    extract::rejection::JsonRejection,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use nightshift_engine::{attest::AttestError, causes};
use nightshift_lambda::Problem;

use crate::{mint::MintError, statement::StatementError};

/// Why a machine gets nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request is not what this route takes.
    #[error("the request is malformed")]
    Malformed(String),
    /// The request is larger than we read.
    #[error("the request is too large")]
    TooLarge,
    /// The statement proves nothing.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The machine that it proves may not have anything.
    #[error(transparent)]
    Attest(#[from] AttestError),
    /// No token could be signed.
    #[error(transparent)]
    Mint(#[from] MintError),
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::TooLarge
        } else {
            Self::Malformed(rejection.body_text())
        }
    }
}

impl Refusal {
    fn problem(&self) -> Problem {
        let conflict =
            |kind, title, detail| Problem::new(StatusCode::CONFLICT, kind, title, detail);
        match self {
            Self::Malformed(detail) => Problem::bad_request(detail),
            Self::TooLarge => Problem::too_large(crate::MAX_BODY_BYTES),
            // One answer for every way in which a statement can be wrong: which one it was would
            // only help whoever makes them up.
            Self::Statement(StatementError::Refused(_))
            | Self::Attest(AttestError::Unknown | AttestError::Replayed) => Problem::new(
                StatusCode::UNAUTHORIZED,
                "bad-statement",
                "The statement is not acceptable",
                "ask the identity socket for a new statement and send that one, once",
            ),
            Self::Attest(AttestError::NotClaimed) => conflict(
                "not-claimed",
                "Nobody has claimed this sandbox",
                "there is nothing to do; the machine is started again once there is",
            ),
            Self::Attest(AttestError::AlreadyAttested) => conflict(
                "already-attested",
                "This start has its brief already",
                "each start is answered once",
            ),
            Self::Attest(AttestError::Superseded) => Problem::new(
                StatusCode::GONE,
                "superseded",
                "The investigation went on without this start",
                "stop working; nothing that this start sends is accepted any more",
            ),
            Self::Statement(StatementError::NoKeys(_))
            | Self::Attest(AttestError::Store(_))
            | Self::Mint(_) => Problem::try_again("send a new statement in a moment"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let (status, kind, error) = (problem.status, &problem.kind, causes(&self));
        if status >= 500 {
            tracing::error!(status, kind, error, "Could not answer a sandbox");
        } else if kind == "not-claimed" {
            // Every sandbox asks once while it is made.
            tracing::info!(
                status,
                kind,
                error,
                "Told a sandbox that nobody has claimed it"
            );
        } else {
            tracing::warn!(status, kind, error, "Refused a sandbox");
        }
        problem.into_response()
    }
}
