//! The model's provider, and any other stranger on the net: answers what it is told to, and remembers
//! what it was asked.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
};
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use serde_json::{Value, json};

/// What it answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// How often the body comes.
    pub(crate) times: usize,
    pub(crate) after: Duration,
}

/// What it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) url: String,
    state: Arc<Mutex<Told>>,
}

struct Told {
    reply: Reply,
    seen: Vec<Seen>,
    open: usize,
    most_open: usize,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string(),
            times: 1,
            after: Duration::ZERO,
        }
    }

    /// A model's answer that used so many tokens.
    pub(crate) fn message(text: &str, read: u64, written: u64) -> Self {
        Self::json(
            200,
            &json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-a",
                "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn",
                "usage": { "input_tokens": read, "output_tokens": written },
            }),
        )
    }
}

impl Upstream {
    pub(crate) async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let upstream = Self {
            url: format!("http://{}", listener.local_addr()?),
            state: Arc::new(Mutex::new(Told {
                reply: Reply::message("Understood.", 10, 10),
                seen: Vec::new(),
                open: 0,
                most_open: 0,
            })),
        };
        let routes = Router::new().fallback(answer).with_state(upstream.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(upstream)
    }

    /// Answers this from here on.
    pub(crate) fn tell(&self, reply: Reply) {
        self.told().reply = reply;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.told().seen.clone()
    }

    /// The most requests that were under way at once.
    pub(crate) fn most_open(&self) -> usize {
        self.told().most_open
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(upstream): State<Upstream>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 16 << 20)
        .await
        .unwrap_or_default();
    let reply = {
        let mut told = upstream.told();
        told.seen.push(Seen {
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        });
        told.open += 1;
        told.most_open = told.most_open.max(told.open);
        told.reply.clone()
    };
    tokio::time::sleep(reply.after).await;
    upstream.told().open -= 1;
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    let piece = Bytes::from(reply.body);
    let body = if reply.times == 1 {
        Body::from(piece)
    } else {
        let pieces = stream::repeat(piece).take(reply.times);
        Body::from_stream(pieces.map(Ok::<_, std::convert::Infallible>))
    };
    response.body(body).unwrap_or_default()
}
