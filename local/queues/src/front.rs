//! API Gateway's HTTP API on one machine: turns requests into events of payload version 2.0 for one
//! function, and its answers back.
//!
//! What is kept of the gateway: 10 MB bodies, 30 s of patience, repeated headers joined by commas, cookies
//! apart, bodies that are no text in base64, and its own short answers when the function fails.

mod answer;
mod event;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::runtime::{Host, InvokeError};

/// The most bytes of a request's body.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
/// How long the gateway waits for the function.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every request to the router invokes `function`.
pub fn router(host: Host, function: &str) -> Router {
    let front = Front {
        host,
        function: function.to_owned(),
    };
    Router::new().fallback(invoke).with_state(Arc::new(front))
}

#[derive(Debug)]
struct Front {
    host: Host,
    function: String,
}

async fn invoke(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return own(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let event = event::of(front.host.owner(), &head, &body).to_string();
    let invoked = front.host.invoke(&front.function, event.into());
    match tokio::time::timeout(PATIENCE, invoked).await {
        Ok(Ok(payload)) => answer::read(&payload).unwrap_or_else(|error| {
            tracing::error!(
                function = front.function,
                error,
                "A function's answer is none"
            );
            own(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }),
        Ok(Err(error)) => {
            tracing::warn!(function = front.function, %error, "A request could not be answered");
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
