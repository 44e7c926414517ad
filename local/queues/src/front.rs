//! API Gateway's HTTP API on one machine: turns requests into events of payload version 2.0 for one
//! function, and its answers back.
//!
//! What is kept of the gateway: 10 MB bodies, 30 s of patience, repeated headers joined by commas, cookies
//! apart, bodies that are no text in base64, and its own short answers when the function fails.

mod answer;
mod event;

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::runtime::{Invoke, InvokeError, Owner};

/// The most bytes of a request's body.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
/// How long the gateway waits for the function.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every request to the router invokes `function`, which is `owner`'s.
pub fn router(owner: Owner, function: Arc<dyn Invoke>) -> Router {
    Router::new()
        .fallback(invoke)
        .with_state(Arc::new(Front { owner, function }))
}

struct Front {
    owner: Owner,
    function: Arc<dyn Invoke>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

async fn invoke(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return own(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let event = event::of(&front.owner, &head, &body).to_string();
    let invoked = front.function.invoke(event.into());
    match tokio::time::timeout(PATIENCE, invoked).await {
        Ok(Ok(payload)) => answer::read(&payload).unwrap_or_else(|error| {
            tracing::error!(error, "A function's answer is none");
            own(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }),
        Ok(Err(error)) => {
            tracing::warn!(%error, "A request could not be answered");
            refused(&error)
        }
        Err(_) => own(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

/// The gateway's own answer where the function has none.
fn refused(error: &InvokeError) -> Response {
    match error {
        InvokeError::Throttled(_) | InvokeError::Ending => {
            own(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
        }
        InvokeError::TooLarge { .. } => {
            own(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")
        }
        InvokeError::NotFound(_) | InvokeError::Failed(_) => {
            own(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }
    }
}

fn own(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "message": message }))).into_response()
}

/// An empty body that is none.
fn body_of(bytes: Vec<u8>) -> Body {
    if bytes.is_empty() {
        Body::empty()
    } else {
        Body::from(bytes)
    }
}
