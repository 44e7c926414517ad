//! What a caller is told when something cannot be answered, and what we log about it.

use std::error::Error;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use nightshift_engine::{causes, dead_letters::RedriveError, message::MessageError};
use nightshift_lambda::Problem;
use nightshift_store::StoreError;

/// Why a request is not answered.
#[derive(Debug)]
pub(crate) struct Refusal(Problem);

impl Refusal {
    /// There is no such investigation, or not for this caller.
    pub(crate) fn unknown(id: impl std::fmt::Display) -> Self {
        Self(Problem::not_found(format!("{id} does not exist")))
    }

    fn failed(error: &dyn Error) -> Self {
        tracing::error!(error = causes(error), "Could not answer a request");
        Self(Problem::try_again(
            "the store did not answer; nothing was changed",
        ))
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::failed(&error)
    }
}

impl From<MessageError> for Refusal {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Unknown(id) => Self::unknown(id),
            MessageError::Closed(_) => Self(Problem::new(
                StatusCode::CONFLICT,
                "closed",
                "The investigation is over",
                format!("{error}; the message was not kept"),
            )),
            MessageError::Store(error) => Self::failed(&error),
        }
    }
}

impl From<RedriveError> for Refusal {
    fn from(error: RedriveError) -> Self {
        match error {
            RedriveError::Unknown(_) => Self(Problem::not_found(format!("{error}"))),
            RedriveError::Store(error) => Self::failed(&error),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
