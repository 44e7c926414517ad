//! axum's extractors, answering with problem details where the request does not fit.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, request::Parts},
};
use nightshift_lambda::Problem;
use serde::de::DeserializeOwned;

use crate::MAX_BODY_BYTES;

/// What the path names.
pub(crate) struct Named<T>(pub(crate) T);

/// What the query asks for.
pub(crate) struct Asked<T>(pub(crate) T);

/// What the body says.
pub(crate) struct Said<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(named)| Self(named)).map_err(|error| {
            let (bad, title) = (StatusCode::BAD_REQUEST, "The path names no such thing");
            Problem::new(bad, "bad-id", title, error.body_text())
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Self(asked)).map_err(|error| {
            let (bad, title) = (StatusCode::BAD_REQUEST, "The query cannot be understood");
            Problem::new(bad, "bad-query", title, error.body_text())
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Json::from_request(request, state).await;
        body.map(|Json(said)| Self(said)).map_err(|error| {
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::too_large(MAX_BODY_BYTES)
            } else {
                Problem::bad_request(error.body_text())
            }
        })
    }
}
