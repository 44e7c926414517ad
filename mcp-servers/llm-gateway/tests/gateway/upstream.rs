//! A provider of our own: answers what it is told to, in order, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Reply {
    pub(crate) fn message(text: &str, read: u64, written: u64) -> Self {
        let body = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-b-1",
            "content": [{ "type": "text", "text": text }],
            "stop_reason": "end_turn",
            "usage": { "input_tokens": read, "output_tokens": written },
        });
        Self {
            status: 200,
            kind: "application/json",
            body: body.to_string(),
        }
    }

    pub(crate) fn stream(text: &str) -> Self {
        Self {
            status: 200,
            kind: "text/event-stream",
            body: text.to_owned(),
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        let body = json!({ "type": "error", "error": {
            "type": "some_error", "message": format!("upstream says {status}") } });
        Self {
            status,
            kind: "application/json",
            body: body.to_string(),
        }
    }
}

#[derive(Debug, Default)]
struct Told {
    replies: Vec<Reply>,
    asked: Vec<(HeaderMap, Value)>,
}

/// The provider.
pub(crate) struct Upstream {
    pub(crate) base: String,
    told: Arc<Mutex<Told>>,
}

impl Upstream {
    pub(crate) async fn start(mut replies: Vec<Reply>) -> Self {
        replies.reverse();
        let told = Arc::new(Mutex::new(Told {
            replies,
            asked: Vec::new(),
        }));
        let routes = Router::new()
            .route("/v1/messages", post(answer))
            .with_state(Arc::clone(&told));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { base, told }
    }

    pub(crate) fn requests(&self) -> Vec<(HeaderMap, Value)> {
        self.told.lock().unwrap().asked.clone()
    }
}

async fn answer(State(told): State<Arc<Mutex<Told>>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut told = told.lock().unwrap();
    told.asked
        .push((headers, serde_json::from_slice(&body).unwrap()));
    let reply = told
        .replies
        .pop()
        .expect("asked more often than told to answer");
    let status = StatusCode::from_u16(reply.status).unwrap();
    (status, [("content-type", reply.kind)], reply.body).into_response()
}
