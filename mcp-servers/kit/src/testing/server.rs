//! A server behind its real gate and its real transport, called as a sandbox calls it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, body::Body};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use nightshift_domain::{Epoch, InvestigationId, SandboxId, Scope, TenantId, scope::Audience};
use nightshift_protocol::{
    proof::{PROOF_HEADER, TOKEN_SCHEME},
    run::RunStatus,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{FakeCasebook, Holder, ISSUER, Issuer};
use crate::{
    Clock, EvidenceLog, Gate, Keyring, Runs, SystemClock, TokenRules, TokenVerifier, ToolServer,
    Tools, serve,
};

/// The host that sandboxes would use.
const PUBLIC_HOST: &str = "server.nightshift.internal";
/// The address that they would use.
const PUBLIC_URL: &str = "http://server.nightshift.internal/mcp";

/// A server under test, and a run that may call it.
#[derive(Debug)]
pub struct TestServer {
    /// Whoever signs the tokens.
    pub issuer: Issuer,
    /// The run that the tokens are for.
    pub run: RunStatus,
    audience: Audience,
    scopes: Vec<(&'static str, Scope)>,
    routes: Router,
    unguarded: Router,
}

/// What came back over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; `Null` where it is not JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// Ends the test unless the tool worked.
    pub fn worked(&self) {
        assert_ne!(self.body["result"]["isError"], json!(true), "{}", self.text);
        assert!(self.body["result"].is_object(), "{}", self.text);
    }

    /// The structured answer of a tool that worked.
    #[must_use]
    pub fn structured(&self) -> &Value {
        self.worked();
        let structured = &self.body["result"]["structuredContent"];
        assert!(structured.is_object(), "{}", self.text);
        structured
    }

    /// What a tool that failed told the agent.
    #[must_use]
    pub fn failure(&self) -> &str {
        assert_eq!(self.body["result"]["isError"], json!(true), "{}", self.text);
        self.body["result"]["content"][0]["text"]
            .as_str()
            .expect("a failure has a text")
    }
}

impl TestServer {
    /// The server with a fake casebook that knows one live run with these connections.
    pub fn new<S: ToolServer>(
        server: S,
        fired_at: DateTime<Utc>,
        connections: BTreeMap<String, Value>,
    ) -> (Self, Arc<FakeCasebook>) {
        let casebook = Arc::new(FakeCasebook::default());
        let run = RunStatus {
            investigation: InvestigationId::generate(),
            tenant: TenantId::generate(),
            sandbox: SandboxId::generate(),
            epoch: Epoch(3),
            fired_at,
            connections,
        };
        casebook.make_live(&run);
        let runs: Arc<dyn Runs> = Arc::<FakeCasebook>::clone(&casebook);
        let log: Arc<dyn EvidenceLog> = Arc::<FakeCasebook>::clone(&casebook);
        (Self::with(server, run, &runs, &log), casebook)
    }

    /// The server with whatever knows its runs and keeps its evidence.
    pub fn with<S: ToolServer>(
        server: S,
        run: RunStatus,
        runs: &Arc<dyn Runs>,
        log: &Arc<dyn EvidenceLog>,
    ) -> Self {
        let issuer = Issuer::new("key-1");
        let scopes = server.tools().scopes().collect();
        let server = Arc::new(server);
        let gate = || {
            let rules = TokenRules {
                issuer: ISSUER.to_owned(),
                audience: S::AUDIENCE,
                origin: PUBLIC_URL.parse().expect("it is a URL"),
            };
            let keys = Keyring::new(issuer.clone());
            let verifier = TokenVerifier::new(rules, keys, Arc::new(SystemClock));
            Arc::new(Gate::new(verifier, Arc::clone(runs)))
        };
        let tools = Tools::new(Arc::clone(&server), Arc::clone(log));
        let mut unguarded = tools.clone();
        unguarded.unguarded = true;
        Self {
            routes: serve::routes(PUBLIC_HOST, gate(), tools),
            unguarded: serve::routes(PUBLIC_HOST, gate(), unguarded),
            issuer,
            run,
            audience: S::AUDIENCE,
            scopes,
        }
    }

    /// The address that sandboxes use, which proofs must name.
    #[must_use]
    pub const fn url() -> &'static str {
        PUBLIC_URL
    }

    /// A good token of the run with these scopes.
    #[must_use]
    pub fn token(&self, scopes: &[Scope]) -> String {
        self.token_of(&self.run, scopes)
    }

    /// A good token of another run.
    #[must_use]
    pub fn token_of(&self, run: &RunStatus, scopes: &[Scope]) -> String {
        let now = SystemClock.now();
        self.issuer
            .sign(&Issuer::claims(run, self.audience, scopes, now))
    }

    /// Sends a JSON-RPC message to `/mcp` as a client of the initialize era does.
    pub async fn post(&self, token: Option<&str>, message: &Value) -> Answer {
        send(&self.routes, request(token, message)).await
    }

    /// Sends any request.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        send(&self.routes, request).await
    }

    /// The request that [`TestServer::post`] sends, with a proof for it where it has a token, to be
    /// changed before it is sent.
    #[must_use]
    pub fn request(&self, token: Option<&str>, message: &Value) -> Request<Body> {
        request(token, message)
    }

    /// Calls a tool with every scope that the server knows.
    pub async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.call_as(self.audience.scopes(), tool, arguments).await
    }

    /// Calls a tool with these scopes.
    pub async fn call_as(&self, scopes: &[Scope], tool: &str, arguments: Value) -> Answer {
        self.post(Some(&self.token(scopes)), &call(tool, &arguments))
            .await
    }

    /// The names of the tools that a caller with these scopes sees.
    pub async fn list_as(&self, scopes: &[Scope]) -> Vec<String> {
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
        let answer = self.post(Some(&self.token(scopes)), &list).await;
        let tools = answer.body["result"]["tools"]
            .as_array()
            .expect("a list of tools");
        tools
            .iter()
            .map(|tool| tool["name"].as_str().expect("a tool has a name").to_owned())
            .collect()
    }

    /// Ends the test unless every tool refuses whoever may not call it:
    /// without a token; with every scope but its own, where it is neither listed nor told apart
    /// from a tool that does not exist; and by its own signature, with the list of scopes out of
    /// the way.
    pub async fn refuses_strangers(&self) {
        assert!(!self.scopes.is_empty(), "the server has tools");
        for (tool, scope) in &self.scopes {
            let without = self.post(None, &call(tool, &json!({}))).await;
            assert_eq!(without.status, StatusCode::UNAUTHORIZED, "{tool}");

            let mut others = Scope::ALL.to_vec();
            others.retain(|other| other != scope);
            assert!(
                !self.list_as(&others).await.iter().any(|name| name == tool),
                "{tool}"
            );
            assert!(
                self.list_as(&[*scope])
                    .await
                    .iter()
                    .any(|name| name == tool),
                "{tool}"
            );
            let denied = self.call_as(&others, tool, json!({})).await;
            let unknown = self.call_as(&others, "no_such_tool", json!({})).await;
            assert_eq!(denied.text, unknown.text, "{tool}");
            assert_eq!(denied.status, unknown.status, "{tool}");
            assert_eq!(denied.body["error"]["code"], json!(-32602), "{tool}");

            let token = self.token(&others);
            let signature = send(
                &self.unguarded,
                request(Some(&token), &call(tool, &json!({}))),
            )
            .await;
            let reason = signature.body["error"]["message"]
                .as_str()
                .unwrap_or_default();
            let expected = format!("this tool needs the scope `{scope}`");
            assert_eq!(reason, expected, "{tool}: {}", signature.text);
        }
    }
}

/// A `tools/call` message.
fn call(tool: &str, arguments: &Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
}

fn request(token: Option<&str>, message: &Value) -> Request<Body> {
    let mut request = Request::post("/mcp")
        .header(header::HOST, PUBLIC_HOST)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25")
        .body(Body::from(message.to_string()))
        .expect("the parts of the request are well-formed");
    if let Some(token) = token {
        let value =
            HeaderValue::try_from(format!("{TOKEN_SCHEME} {token}")).expect("a token is ASCII");
        request.headers_mut().insert(header::AUTHORIZATION, value);
        let proof = Holder::default().prove("POST", PUBLIC_URL, token);
        request.headers_mut().insert(PROOF_HEADER, proof);
    }
    request
}

async fn send(routes: &Router, request: Request<Body>) -> Answer {
    let answer = routes
        .clone()
        .oneshot(request)
        .await
        .expect("routes do not fail");
    let (parts, body) = answer.into_parts();
    let bytes = axum::body::to_bytes(body, 16 * 1024 * 1024)
        .await
        .expect("the body ends");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_str(&text).unwrap_or(Value::Null),
        text,
    }
}
