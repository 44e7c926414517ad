//! The four calls of the Runtime API, for one instance on a port of its own.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// The most bytes that Lambda passes on as an event or as an answer.
pub(super) const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024 + 100;

/// One invocation's event, with what its headers say.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) request: String,
    pub(super) arn: String,
    pub(super) trace: String,
    pub(super) deadline_ms: u128,
    pub(super) payload: Bytes,
}

/// What the function's runtime asks or says.
#[derive(Debug)]
pub(super) enum Call {
    /// It is ready for an invocation, and will wait as long as it takes.
    Next(oneshot::Sender<Event>),
    /// It answered an invocation; without a body if that was too large.
    Answer {
        request: String,
        body: Option<Bytes>,
        taken: Taken,
    },
    /// An invocation failed.
    Failure {
        request: String,
        kind: String,
        message: String,
        taken: Taken,
    },
    /// It cannot get ready.
    InitFailure {
        kind: String,
        message: String,
        taken: Taken,
    },
}

/// Tells the runtime whether what it said was expected.
pub(super) type Taken = oneshot::Sender<bool>;

/// Serves one instance; the calls come out of the channel in order.
pub(super) async fn serve() -> std::io::Result<(SocketAddr, mpsc::Receiver<Call>, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (calls, heard) = mpsc::channel(4);
    let server = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router(calls)).await {
            tracing::error!(%error, "A Runtime API broke");
        }
    });
    Ok((address, heard, server))
}

fn router(calls: mpsc::Sender<Call>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{request}/response",
            post(answer),
        )
        .route(
            "/2018-06-01/runtime/invocation/{request}/error",
            post(failure),
        )
        .route("/2018-06-01/runtime/init/error", post(init_failure))
        .with_state(calls)
}

type Calls = State<mpsc::Sender<Call>>;

async fn next(State(calls): Calls) -> Response {
    let (given, event) = oneshot::channel();
    if calls.send(Call::Next(given)).await.is_err() {
        return refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the instance is being ended",
        );
    }
    let Ok(event) = event.await else {
        return refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the instance is being ended",
        );
    };
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", event.request),
        ("lambda-runtime-deadline-ms", event.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", event.arn),
        ("lambda-runtime-trace-id", event.trace),
    ];
    (headers, event.payload).into_response()
}

async fn answer(State(calls): Calls, Path(request): Path<String>, body: Body) -> Response {
    let body = to_bytes(body, MAX_PAYLOAD_BYTES).await.ok();
    let too_large = body.is_none();
    let answer = said(&calls, |taken| Call::Answer {
        request,
        body,
        taken,
    })
    .await;
    if too_large {
        refused(StatusCode::PAYLOAD_TOO_LARGE, "the answer exceeds 6 MB")
    } else {
        answer
    }
}

async fn failure(
    State(calls): Calls,
    Path(request): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (kind, message) = reported(&headers, &body);
    said(&calls, |taken| Call::Failure {
        request,
        kind,
        message,
        taken,
    })
    .await
}

async fn init_failure(State(calls): Calls, headers: HeaderMap, body: Bytes) -> Response {
    let (kind, message) = reported(&headers, &body);
    said(&calls, |taken| Call::InitFailure {
        kind,
        message,
        taken,
    })
    .await
}

/// Passes a call on and waits until it counted: a runtime that goes on was heard.
async fn said(calls: &mpsc::Sender<Call>, call: impl FnOnce(Taken) -> Call) -> Response {
    let (taken, heard) = oneshot::channel();
    if calls.send(call(taken)).await.is_err() {
        return refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the instance is being ended",
        );
    }
    match heard.await {
        Ok(true) => (StatusCode::ACCEPTED, axum::Json(json!({"status": "OK"}))).into_response(),
        Ok(false) => refused(StatusCode::BAD_REQUEST, "no such invocation is under way"),
        Err(_) => refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the instance is being ended",
        ),
    }
}

fn reported(headers: &HeaderMap, body: &[u8]) -> (String, String) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let header = headers.get("lambda-runtime-function-error-type");
    let header = header
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let kind = text("errorType")
        .or(header)
        .unwrap_or_else(|| "Runtime.Unknown".to_owned());
    (kind, text("errorMessage").unwrap_or_default())
}

fn refused(status: StatusCode, message: &str) -> Response {
    let kind = if status.is_server_error() {
        "ContainerError"
    } else {
        "InvalidRequestID"
    };
    (
        status,
        axum::Json(json!({"errorType": kind, "errorMessage": message})),
    )
        .into_response()
}
