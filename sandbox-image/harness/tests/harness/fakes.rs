//! The supervisor's socket: the model, the servers and the shell, told apart by `Host`.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use rmcp::transport::{
    StreamableHttpServerConfig, StreamableHttpService,
    streamable_http_server::session::never::NeverSessionManager,
};
use serde_json::{Value, json};
use tokio::{net::UnixListener, sync::mpsc, task::JoinHandle};
use tower::ServiceExt as _;

use crate::{
    model_fake::ModelFake,
    tools_fake::{Case, ToolsFake},
};

type Mcp = StreamableHttpService<ToolsFake, NeverSessionManager>;

/// A request that never gets its answer, though it may have had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    /// Which, counted from 1.
    pub(crate) number: usize,
    /// Whether it is carried out.
    pub(crate) carried_out: bool,
}

#[derive(Clone)]
pub(crate) struct Fakes {
    pub(crate) model: Arc<ModelFake>,
    pub(crate) case: Arc<Mutex<Case>>,
    /// The request that never gets its answer.
    pub(crate) hold: Arc<Mutex<Option<Hold>>>,
    count: Arc<AtomicUsize>,
    /// Told about every request: the host and the method or tool.
    seen: mpsc::UnboundedSender<String>,
    mcp: [(&'static str, Mcp); 3],
}

impl Fakes {
    pub(crate) fn start(socket: &Path) -> (Self, mpsc::UnboundedReceiver<String>, JoinHandle<()>) {
        let case = Arc::new(Mutex::new(Case::default()));
        let mcp = ["casebook", "telemetry", "codebase"].map(|server| {
            let fake = ToolsFake {
                server,
                case: Arc::clone(&case),
            };
            let settings = StreamableHttpServerConfig::default()
                .with_legacy_session_mode(false)
                .with_json_response(true)
                .with_allowed_hosts([format!("{server}.test")]);
            let sessions = Arc::new(NeverSessionManager::default());
            (
                server,
                StreamableHttpService::new(move || Ok(fake.clone()), sessions, settings),
            )
        });
        let (seen, requests) = mpsc::unbounded_channel();
        let fakes = Self {
            model: Arc::default(),
            hold: Arc::default(),
            count: Arc::default(),
            case,
            seen,
            mcp,
        };
        let router = Router::new().fallback(dispatch).with_state(fakes.clone());
        let listener = UnixListener::bind(socket).unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (fakes, requests, serving)
    }
}

async fn dispatch(State(fakes): State<Fakes>, request: Request) -> Response {
    let host = request.headers()["host"].to_str().unwrap().to_owned();
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let what = json["params"]["name"]
        .as_str()
        .or(json["method"].as_str())
        .unwrap_or("request");
    let number = fakes.count.fetch_add(1, Ordering::SeqCst) + 1;
    let hold = *fakes.hold.lock().unwrap();
    let hold = hold.filter(|hold| hold.number == number);
    let seen = format!("{host} {what}");
    let mut answer = None;
    if hold.is_none_or(|hold| hold.carried_out) {
        if hold.is_none() {
            // The test may have ended already.
            let _ = fakes.seen.send(seen.clone());
        }
        answer = Some(carry_out(&fakes, &host, parts, body, &json).await);
    }
    if let (None, Some(answer)) = (hold, answer) {
        return answer;
    }
    let _ = fakes.seen.send(seen);
    std::future::pending().await
}

async fn carry_out(
    fakes: &Fakes,
    host: &str,
    parts: axum::http::request::Parts,
    body: axum::body::Bytes,
    json: &Value,
) -> Response {
    let server = host.trim_end_matches(".test").to_owned();
    let failing = {
        let mut case = fakes.case.lock().unwrap();
        case.http_failures
            .get_mut(&server)
            .and_then(std::collections::VecDeque::pop_front)
    };
    if let Some(status) = failing {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    match host {
        "llm.test" if parts.uri.path() == "/v1/messages" => {
            fakes.model.answer(&parts.headers, &body)
        }
        "supervisor.local" if parts.uri.path() == "/v1/shell" => axum::Json(json!({
            "exit_code": 0, "stdout": format!("ran {}", json["command"]), "stderr": "",
            "truncated": false, "timed_out": false,
        }))
        .into_response(),
        _ => match fakes.mcp.iter().find(|(name, _)| *name == server) {
            Some((_, mcp)) => {
                let request = Request::from_parts(parts, Body::from(body));
                mcp.clone().oneshot(request).await.unwrap().map(Body::new)
            }
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}
