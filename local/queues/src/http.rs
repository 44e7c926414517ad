//! The queues over HTTP: the AWS JSON 1.0 protocol, as the SDKs speak it.

mod admin;
mod signature;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::queues::Queues;
use crate::refusal::{Code, Refusal};

/// A batch of 1 MiB whose every byte is escaped, and its attributes in base64.
const BODY_BYTES: usize = 8 * 1024 * 1024;
const JSON: &str = "application/x-amz-json-1.0";

/// The routes. `POST /` is the protocol; with `admin`, tests can move the clock and turn the dials.
pub fn router(queues: Queues, admin: bool) -> Router {
    let mut router = Router::new().route("/", post(call));
    if admin {
        router = router.merge(admin::routes());
    }
    router
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(queues)
}

async fn call(State(queues): State<Queues>, headers: HeaderMap, body: Bytes) -> Response {
    let request_id = Uuid::new_v4().to_string();
    let mut response = match perform(&queues, &headers, &body).await {
        Ok(answer) => answer_with(StatusCode::OK, &answer),
        Err(refusal) => refuse(&refusal),
    };
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
    response
}

async fn perform(queues: &Queues, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let unknown =
        || Code::UnknownOperation.because("The action or operation requested is invalid.");
    let action = text("x-amz-target")
        .strip_prefix("AmazonSQS.")
        .ok_or_else(unknown)?;
    if text("content-type").split(';').next() != Some(JSON) {
        return Err(Code::MalformedInput.because(format!("The content type must be {JSON}.")));
    }
    signature::check(headers)?;
    let request: Value = serde_json::from_slice(body)
        .map_err(|error| Code::MalformedInput.because(error.to_string()))?;
    if !request.is_object() {
        return Err(Code::MalformedInput.because("The request must be a JSON object."));
    }
    let answer = queues.perform_named(action, request).await;
    match &answer {
        Ok(_) => tracing::trace!(action, "done"),
        Err(refusal) => tracing::debug!(action, %refusal, "refused"),
    }
    answer
}

fn refuse(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let body = json!({ "__type": refusal.code.shape(), "message": refusal.message });
    let mut response = answer_with(status, &body);
    if let Ok(value) = HeaderValue::from_str(&format!("{};Sender", refusal.code.query())) {
        response.headers_mut().insert("x-amzn-query-error", value);
    }
    response
}

fn answer_with(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response()
}
