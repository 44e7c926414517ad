//! A provider of our own: answers what it is told to, in order, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    kind: &'static str,
    body: String,
    then: Then,
}

/// What comes after an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Its end.
    End,
    /// Nothing, for as long as anybody waits.
    Silence,
    /// A broken connection.
    Break,
    /// The body again and again.
    Again,
    /// Not even the head comes.
    NoAnswer,
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
            then: Then::End,
        }
    }

    pub(crate) fn stream(text: &str) -> Self {
        Self {
            status: 200,
            kind: "text/event-stream",
            body: text.to_owned(),
            then: Then::End,
        }
    }

    pub(crate) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    pub(crate) fn status(status: u16) -> Self {
        let body = json!({ "type": "error", "error": {
            "type": "some_error", "message": format!("upstream says {status}") } });
        Self {
            status,
            kind: "application/json",
            body: body.to_string(),
            then: Then::End,
        }
    }
}

#[derive(Debug, Default)]
struct Told {
    replies: Vec<Reply>,
    asked: Vec<(HeaderMap, Value)>,
    sent_bytes: usize,
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
            sent_bytes: 0,
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

    /// How much of its answers was taken from it.
    pub(crate) fn sent_bytes(&self) -> usize {
        self.told.lock().unwrap().sent_bytes
    }

    /// Waits until it was asked this often.
    pub(crate) async fn asked(&self, times: usize) {
        while self.requests().len() < times {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}

async fn answer(State(told): State<Arc<Mutex<Told>>>, headers: HeaderMap, body: Bytes) -> Response {
    let reply = {
        let mut told = told.lock().unwrap();
        told.asked
            .push((headers, serde_json::from_slice(&body).unwrap()));
        told.replies
            .pop()
            .expect("asked more often than told to answer")
    };
    if reply.then == Then::NoAnswer {
        std::future::pending::<()>().await;
    }
    let status = StatusCode::from_u16(reply.status).unwrap();
    let (then, piece) = (reply.then, Bytes::from(reply.body));
    let pieces = stream::unfold(0_usize, move |sent| {
        let (told, piece) = (Arc::clone(&told), piece.clone());
        async move {
            match then {
                Then::Silence if sent > 0 => std::future::pending().await,
                Then::Break if sent > 0 => {
                    // What was said first is on its way.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    return Some((Err(std::io::Error::other("broken")), sent + 1));
                }
                Then::End if sent > 0 => return None,
                Then::Silence | Then::Break | Then::End | Then::Again | Then::NoAnswer => {}
            }
            told.lock().unwrap().sent_bytes += piece.len();
            Some((Ok(piece), sent + 1))
        }
    });
    let body = Body::from_stream(pieces);
    (status, [("content-type", reply.kind)], body).into_response()
}
