//! The controls between an agent and what it asks, each by its name.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, Bytes};
use chrono::DateTime;
use futures_util::stream;
use http::StatusCode;
use nightshift_domain::{EvidenceKind, Scope, scope::Audience};
use nightshift_mcp_kit::{
    Caller, LogsRead, ScopedRouter, ToolError, ToolServer,
    testing::{FakeCasebook, TestServer},
};
use nightshift_protocol::tools::Observed;
use rmcp::{Json, handler::server::wrapper::Parameters, schemars, tool, tool_router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const ALL: &[Scope] = Audience::Telemetry.scopes();

/// A server whose upstream says what it is told to say.
struct Parrot {
    tools: ScopedRouter<Self>,
    casebook: Arc<OnceLock<Arc<FakeCasebook>>>,
    upstream: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
struct Said {
    text: String,
    #[serde(default)]
    then_down: bool,
}

#[tool_router(vis = "pub(crate)")]
impl Parrot {
    /// What it says is evidence.
    #[tool]
    async fn observed(
        &self,
        caller: Caller<LogsRead>,
        Parameters(args): Parameters<Said>,
    ) -> Result<Json<Observed<Said>>, ToolError> {
        self.upstream.fetch_add(1, Ordering::SeqCst);
        let said = args.clone();
        caller.observe(EvidenceKind::Logs, &args, said, false).await
    }

    /// What it says is not.
    #[tool]
    async fn plain(
        &self,
        _caller: Caller<LogsRead>,
        Parameters(args): Parameters<Said>,
    ) -> Result<Json<Said>, ToolError> {
        self.upstream.fetch_add(1, Ordering::SeqCst);
        self.casebook.get().unwrap().set_down(args.then_down);
        Ok(Json(args))
    }

    /// It fails with what it says.
    #[tool]
    async fn failing(
        &self,
        _caller: Caller<LogsRead>,
        Parameters(args): Parameters<Said>,
    ) -> Result<Json<Said>, ToolError> {
        self.upstream.fetch_add(1, Ordering::SeqCst);
        self.casebook.get().unwrap().set_down(args.then_down);
        Err(ToolError::new(args.text))
    }

    /// It never ends.
    #[tool]
    async fn hanging(&self, _caller: Caller<LogsRead>) -> Result<Json<Said>, ToolError> {
        std::future::pending().await
    }
}

impl ToolServer for Parrot {
    const AUDIENCE: Audience = Audience::Telemetry;
    const INSTRUCTIONS: &'static str = "A parrot.";

    fn tools(&self) -> &ScopedRouter<Self> {
        &self.tools
    }
}

struct World {
    server: TestServer,
    casebook: Arc<FakeCasebook>,
    upstream: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        let (slot, upstream) = (Arc::new(OnceLock::new()), Arc::<AtomicUsize>::default());
        let scopes =
            ["observed", "plain", "failing", "hanging"].map(|tool| (tool, Scope::LogsRead));
        let parrot = Parrot {
            tools: ScopedRouter::new(Parrot::tool_router(), &scopes).unwrap(),
            casebook: Arc::clone(&slot),
            upstream: Arc::clone(&upstream),
        };
        let (server, casebook) = TestServer::new(parrot, DateTime::UNIX_EPOCH, BTreeMap::new());
        slot.set(Arc::clone(&casebook)).unwrap();
        Self {
            server,
            casebook,
            upstream,
        }
    }

    fn asked_upstream(&self) -> usize {
        self.upstream.load(Ordering::SeqCst)
    }
}

/// Put together here so that nobody's scanner takes this file for a leak.
fn aws_key() -> String {
    format!("AKIA{}", "IOSFODNN7EXAMPLE")
}

/// `output-secrets`.
#[tokio::test]
async fn a_secret_in_an_observation_is_neither_shown_nor_recorded_and_is_counted() {
    let world = World::new();
    let text = format!("creds {} and {} for\u{202e} acme", aws_key(), aws_key());
    let answer = world.server.call("observed", json!({ "text": text })).await;

    let seen = answer.structured();
    assert_eq!(
        seen["answer"]["text"],
        "creds [redacted:aws-access-key] and [redacted:aws-access-key] for acme"
    );
    assert_eq!(seen["redacted"], 2);
    assert!(!answer.text.contains(&aws_key()), "{}", answer.text);
    let (_, evidence) = world.casebook.evidence().remove(0);
    assert_eq!(evidence.content, seen["answer"]);
    assert!(!evidence.arguments.to_string().contains(&aws_key()));

    let nothing = world.server.call("observed", json!({ "text": "x" })).await;
    assert_eq!(nothing.structured().get("redacted"), None);
}

/// `output-secrets`, `output-control`.
#[tokio::test]
async fn what_is_no_evidence_is_cleaned_all_the_same_and_so_are_failures_and_the_audit() {
    let world = World::new();
    let text = format!("a\u{1b}[31mb {}", aws_key());
    let plain = world.server.call("plain", json!({ "text": text })).await;
    let expected = "ab [redacted:aws-access-key]";
    assert_eq!(plain.structured()["text"], expected);
    let copy: Value =
        serde_json::from_str(plain.body["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(&copy, plain.structured());
    let failing = world.server.call("failing", json!({ "text": text })).await;
    assert_eq!(failing.failure(), expected);
    let confused = world
        .server
        .call("failing", json!({ "text": { aws_key(): 1 } }))
        .await;

    for answer in [&plain, &failing, &confused] {
        assert!(!answer.text.contains(&aws_key()), "{}", answer.text);
    }
    let rows = world.casebook.calls();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let row = format!("{row:?}");
        assert!(!row.contains(&aws_key()), "{row}");
    }
}

/// `audit-or-silence`.
#[tokio::test]
async fn what_has_no_row_in_the_audit_is_not_said_whether_it_worked_or_failed() {
    for tool in ["plain", "failing"] {
        let world = World::new();
        let arguments = json!({ "text": "what upstream said", "then_down": true });
        let answer = world.server.call(tool, arguments).await;
        assert_eq!(world.asked_upstream(), 1);
        assert!(
            answer.failure().contains("withheld"),
            "{tool}: {}",
            answer.text
        );
        assert!(
            !answer.text.contains("upstream said"),
            "{tool}: {}",
            answer.text
        );
    }
}

/// `audit`.
#[tokio::test]
async fn long_arguments_are_told_apart_in_the_audit_by_their_hash() {
    let world = World::new();
    for end in ["a", "b", "a"] {
        let text = format!("{}{end}", "x".repeat(8_000));
        world
            .server
            .call("plain", json!({ "text": text }))
            .await
            .worked();
    }
    let hashes: Vec<Value> = world
        .casebook
        .calls()
        .into_iter()
        .map(|call| call.arguments["sha256"].clone())
        .collect();
    assert_eq!(hashes[0].as_str().unwrap().len(), 64);
    assert_eq!(hashes[0], hashes[2]);
    assert_ne!(hashes[0], hashes[1]);
}

/// `unknown-as-denied`.
#[tokio::test]
async fn a_denied_tool_and_an_unknown_one_differ_in_nothing_and_reach_no_upstream() {
    let world = World::new();
    let others = [Scope::MetricsRead];
    let arguments = json!({ "text": "x", "then_down": false });
    let denied = world
        .server
        .call_as(&others, "plain", arguments.clone())
        .await;
    let unknown = world.server.call_as(&others, "plane", arguments).await;
    let malformed = world
        .server
        .call_as(&others, "plain", json!({ "text": 5 }))
        .await;

    for answer in [&unknown, &malformed] {
        assert_eq!(denied.status, answer.status);
        assert_eq!(denied.text, answer.text);
        let names = |headers: &http::HeaderMap| {
            headers
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&denied.headers), names(&answer.headers));
    }
    assert_eq!(world.asked_upstream(), 0);
    let rows: Vec<_> = world
        .casebook
        .calls()
        .into_iter()
        .map(|call| (call.tool, call.outcome))
        .collect();
    let refused = |tool: &str| (format!("telemetry.{tool}"), "refused".to_owned());
    assert_eq!(rows, [refused("plain"), refused("plane"), refused("plain")]);
}

/// `tool-time`.
#[tokio::test(start_paused = true)]
async fn a_tool_that_never_ends_is_ended() {
    let world = World::new();
    let answer = world.server.call("hanging", json!({})).await;
    assert!(
        answer.failure().contains("no answer within 60 s"),
        "{}",
        answer.text
    );
    assert_eq!(world.casebook.calls()[0].outcome, "failed");
}

/// `json-depth`.
#[tokio::test]
async fn json_that_is_nested_too_deeply_is_refused_before_it_is_parsed() {
    let world = World::new();
    let token = world.server.token(ALL);
    for (depth, expected) in [(40, StatusCode::OK), (200, StatusCode::BAD_REQUEST)] {
        let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"plain","arguments":{{"text":"x","deep":{deep}}}}}}}"#
        );
        let mut request = world.server.request(Some(&token), &Value::Null);
        *request.body_mut() = Body::from(call);
        let answer = world.server.send(request).await;
        assert_eq!(answer.status, expected, "{depth}: {}", answer.text);
    }
    assert_eq!(world.asked_upstream(), 1);
}

/// `body-time`.
#[tokio::test(start_paused = true)]
async fn a_request_that_drips_is_given_up_and_without_a_token_it_is_not_read_at_all() {
    let world = World::new();
    let drip = || {
        Body::from_stream(stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        }))
    };
    let ask = async |token: Option<&str>| {
        let mut request = world.server.request(token, &Value::Null);
        *request.body_mut() = drip();
        let began = tokio::time::Instant::now();
        let answer = world.server.send(request).await;
        (answer.status, began.elapsed())
    };
    let token = world.server.token(ALL);
    assert_eq!(
        ask(Some(&token)).await,
        (StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10))
    );
    assert_eq!(ask(None).await, (StatusCode::UNAUTHORIZED, Duration::ZERO));
}

/// `host-check`, `origin-check`.
#[tokio::test]
async fn a_page_in_a_browser_reaches_nothing_by_any_name_and_not_even_the_gate() {
    let world = World::new();
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    for token in [Some(world.server.token(ALL)), None] {
        for (header, value) in [
            ("host", "evil.example"),
            ("host", "127.0.0.1.nip.io"),
            ("origin", "http://evil.example"),
            ("origin", "http://localhost:3000"),
            ("origin", "null"),
        ] {
            let mut request = world.server.request(token.as_deref(), &list);
            request.headers_mut().insert(header, value.parse().unwrap());
            let answer = world.server.send(request).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{header}: {value}");
        }
    }
    assert_eq!(world.casebook.times_asked(), 0);
}
