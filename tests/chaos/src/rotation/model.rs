//! A stand-in for the model's provider: has agents look around until it is released, then leads them as the
//! analyst does. It sees what agents saw: what did not work for them stands in what they send.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use nightshift_llm_gateway::analyst;
use nightshift_protocol::messages::{
    Block, Message, MessagesAnswer, MessagesRequest, Role, StopReason, Usage,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time};

/// How calls are named that only keep an agent busy.
const HOLD: &str = "hold_";

/// Turns of each run that asked, by the name under which the provider knows it.
pub(crate) type Asked = BTreeMap<String, usize>;

/// The provider, on a port of its own; it ends with this.
#[derive(Debug)]
pub struct Model {
    /// Its base URL.
    pub url: String,
    /// How long it takes for an answer while it holds agents.
    pub pace: Duration,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    pace: Duration,
    released: AtomicBool,
    runs: Mutex<BTreeMap<String, Seen>>,
}

/// What is known of a run.
#[derive(Debug, Default)]
struct Seen {
    /// The longest conversation that it sent.
    messages: usize,
    requests: usize,
    /// Requests that came once more.
    again: usize,
    /// Calls that failed although nothing is wrong with them, by their identity.
    failed: BTreeMap<String, String>,
    /// Tools that were missing from what it offers.
    missing: BTreeSet<&'static str>,
}

impl Model {
    /// Begins to listen, and to hold.
    pub async fn open(pace: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            pace,
            released: AtomicBool::new(false),
            runs: Mutex::default(),
        });
        let router = Router::new()
            .route("/v1/messages", post(messages))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // It ends with the run; until then nothing ends it.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            url,
            pace,
            shared,
            server,
        })
    }

    /// Holds nobody any more.
    pub fn release(&self) {
        self.shared.released.store(true, Ordering::SeqCst);
    }

    /// Who has asked, and how far each is.
    pub(crate) fn asked_by(&self) -> Asked {
        self.shared.seen(|runs| {
            runs.iter()
                .map(|(run, seen)| (run.clone(), seen.messages))
                .collect()
        })
    }

    /// Requests in all.
    pub(crate) fn requests(&self) -> usize {
        self.shared
            .seen(|runs| runs.values().map(|seen| seen.requests).sum())
    }

    /// Requests that came once more, because their answer did not reach the agent.
    pub(crate) fn asked_again(&self) -> usize {
        self.shared
            .seen(|runs| runs.values().map(|seen| seen.again).sum())
    }

    /// What did not work for agents while they were held, one line each.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.shared.seen(|runs| {
            let lines = |(run, seen): (&String, &Seen)| {
                let failed = seen
                    .failed
                    .values()
                    .map(|said| format!("run {run}: {said}"));
                let missing = seen
                    .missing
                    .iter()
                    .map(|server| format!("run {run}: the tools of {server} were missing"));
                failed.chain(missing).collect::<Vec<_>>()
            };
            runs.iter().flat_map(lines).collect()
        })
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn seen<T>(&self, look: impl FnOnce(&mut BTreeMap<String, Seen>) -> T) -> T {
        look(&mut self.runs.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Seen {
    fn note(&mut self, request: &MessagesRequest) {
        self.requests += 1;
        if request.messages.len() <= self.messages {
            self.again += 1;
        }
        self.messages = self.messages.max(request.messages.len());
        for message in &request.messages {
            for block in &message.content {
                if let Block::ToolResult {
                    tool_use_id,
                    content,
                    is_error: true,
                } = block
                    && tool_use_id.starts_with(HOLD)
                {
                    self.failed.insert(tool_use_id.clone(), content.clone());
                }
            }
        }
        for server in ["casebook", "telemetry", "codebase"] {
            let offers = |tool: &nightshift_protocol::messages::Tool| tool.name.starts_with(server);
            if !request.tools.iter().any(offers) {
                self.missing.insert(server);
            }
        }
    }
}

async fn messages(
    State(shared): State<Arc<Shared>>,
    Json(body): Json<Value>,
) -> Result<Json<MessagesAnswer>, StatusCode> {
    let run = body["metadata"]["user_id"].as_str().map(str::to_owned);
    let run = run.ok_or(StatusCode::BAD_REQUEST)?;
    let request: MessagesRequest =
        serde_json::from_value(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    shared.seen(|runs| runs.entry(run).or_default().note(&request));
    if !shared.released.load(Ordering::SeqCst) {
        time::sleep(shared.pace).await;
        if !shared.released.load(Ordering::SeqCst) {
            return Ok(Json(hold(&request)));
        }
    }
    let led = move || analyst::answer(&without_holding(request));
    let answer = tokio::task::spawn_blocking(led).await;
    answer
        .map(Json)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// A turn in which every server is asked something that it was not asked before.
fn hold(request: &MessagesRequest) -> MessagesAnswer {
    let turn = request.messages.len();
    let calls = [
        ("casebook_list_related_alerts", json!({})),
        (
            "telemetry_query_logs",
            json!({ "contains": format!("turn {turn}"), "limit": 1 }),
        ),
        (
            "codebase_list_commits",
            json!({ "path": format!("turn-{turn}") }),
        ),
        ("casebook_read_inbox", json!({})),
    ];
    let calls = calls
        .into_iter()
        .enumerate()
        .map(|(at, (name, input))| Block::ToolUse {
            id: format!("{HOLD}{turn}_{at}"),
            name: name.to_owned(),
            input,
        });
    let text = format!("I look around, turn {turn}.");
    MessagesAnswer {
        id: format!("msg_{HOLD}{turn}"),
        kind: "message".to_owned(),
        role: Role::Assistant,
        model: request.model.clone(),
        content: std::iter::once(Block::Text { text }).chain(calls).collect(),
        stop_reason: Some(StopReason::ToolUse),
        usage: Usage {
            input_tokens: 10,
            output_tokens: 10,
        },
    }
}

/// The conversation as if nobody had been held.
fn without_holding(mut request: MessagesRequest) -> MessagesRequest {
    let holds = |message: &Message| {
        message.content.iter().any(|block| match block {
            Block::ToolUse { id, .. } => id.starts_with(HOLD),
            Block::ToolResult { tool_use_id, .. } => tool_use_id.starts_with(HOLD),
            Block::Text { .. } => false,
        })
    };
    request.messages.retain(|message| !holds(message));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(messages: &Value) -> MessagesRequest {
        serde_json::from_value(json!({ "model": "m", "max_tokens": 1, "messages": messages }))
            .unwrap()
    }

    #[test]
    fn what_failed_for_an_agent_is_seen_once_and_only_while_it_was_held() {
        let request = said(&json!([
            { "role": "user", "content": "go" },
            { "role": "assistant", "content": [
                { "type": "tool_use", "id": "hold_1_0", "name": "a", "input": {} },
                { "type": "tool_use", "id": "toolu_1", "name": "b", "input": {} },
            ]},
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "hold_1_0", "content": "away", "is_error": true },
                { "type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": true },
            ]},
        ]));
        let mut seen = Seen::default();
        seen.note(&request);
        seen.note(&request);
        assert_eq!(seen.failed.values().collect::<Vec<_>>(), ["away"]);
        assert_eq!((seen.requests, seen.again), (2, 1));
        assert_eq!(seen.missing.len(), 3);
    }

    #[test]
    fn the_analyst_never_hears_of_turns_that_only_held() {
        let mut request = said(&json!([{ "role": "user", "content": "go" }]));
        let turn = hold(&request);
        request.messages.push(Message {
            role: turn.role,
            content: turn.content,
        });
        request.messages.push(Message {
            role: Role::User,
            content: vec![Block::ToolResult {
                tool_use_id: "hold_1_0".to_owned(),
                content: "x".to_owned(),
                is_error: false,
            }],
        });
        assert_eq!(without_holding(request).messages.len(), 1);
    }
}
