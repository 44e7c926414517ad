//! Just enough of the Lambda Runtime API to start one function, give it one event and see its answer. What
//! stands behind the functions (SQS, machines) is asked at the same address and has nothing to say.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderName, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

/// What a function told its runtime.
#[derive(Debug)]
pub(super) enum Told {
    /// It asked for work.
    Ready(Instant),
    /// It answered.
    Answered(Instant),
    /// It gave up.
    Failed(String),
}

/// One runtime, for one function after the other.
#[derive(Debug)]
pub(super) struct Runtime {
    address: SocketAddr,
    next: Arc<Mutex<Option<Next>>>,
}

#[derive(Debug)]
struct Next {
    event: Option<Value>,
    tell: mpsc::UnboundedSender<Told>,
}

type Shared = Arc<Mutex<Option<Next>>>;

impl Runtime {
    pub(super) async fn serve() -> Result<Self> {
        let next = Shared::default();
        let invocation = "/2018-06-01/runtime/invocation";
        let routes = Router::new()
            .route(&format!("{invocation}/next"), get(give))
            .route(&format!("{invocation}/{{id}}/response"), post(answered))
            .route(&format!("{invocation}/{{id}}/error"), post(failed))
            .route("/2018-06-01/runtime/init/error", post(failed))
            .fallback(async || Json(json!({"machines": [], "apps": [], "Messages": []})))
            .with_state(Arc::clone(&next));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, next })
    }

    /// The next function that starts gets `event`.
    pub(super) fn expect(&self, event: Value) -> mpsc::UnboundedReceiver<Told> {
        let (tell, told) = mpsc::unbounded_channel();
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(Next {
            event: Some(event),
            tell,
        });
        told
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn tell(next: &Shared, told: Told) {
    let next = next.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(next) = &*next {
        let _ = next.tell.send(told);
    }
}

async fn give(State(next): State<Shared>) -> Response {
    tell(&next, Told::Ready(Instant::now()));
    let event = {
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        next.as_mut().and_then(|next| next.event.take())
    };
    let Some(event) = event else {
        // There is no more work; it is stopped before it gets an answer.
        std::future::pending::<()>().await;
        return StatusCode::GONE.into_response();
    };
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let headers = [
        (
            "lambda-runtime-aws-request-id",
            "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
        ),
        (
            "lambda-runtime-deadline-ms",
            (since_1970.as_millis() + 30_000).to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-west-1:000000000000:function:bench".to_owned(),
        ),
    ]
    .map(|(name, value)| (HeaderName::from_static(name), value));
    (axum::response::AppendHeaders(headers), Json(event)).into_response()
}

async fn answered(State(next): State<Shared>, _: Bytes) -> (StatusCode, Json<Value>) {
    tell(&next, Told::Answered(Instant::now()));
    (StatusCode::ACCEPTED, Json(json!({"status": "OK"})))
}

async fn failed(State(next): State<Shared>, why: Bytes) -> (StatusCode, Json<Value>) {
    tell(
        &next,
        Told::Failed(String::from_utf8_lossy(&why).into_owned()),
    );
    (StatusCode::ACCEPTED, Json(json!({"status": "OK"})))
}
