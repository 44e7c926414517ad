//! A gateway in front of a fake casebook, and runs that may ask it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{HeaderMap, Request, StatusCode};
use nightshift_domain::{Epoch, InvestigationId, SandboxId, Scope, TenantId, scope::Audience};
use nightshift_llm_gateway::{
    config::AnthropicAccount,
    gateway::{Gateway, budget::RunLimits, routes},
    provider::{Providers, anthropic::Anthropic},
};
use nightshift_mcp_kit::{
    Clock, EvidenceLog, Gate, Keyring, ModelLog, Runs, SystemClock, TokenRules, TokenVerifier,
    testing::{FakeCasebook, Holder, ISSUER, Issuer},
};
use nightshift_protocol::run::{RecordModelUse, RunStatus};
use secrecy::SecretString;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Where sandboxes ask the gateway.
const ORIGIN: &str = "http://llm.nightshift.internal";

/// The name under which sandboxes ask.
pub(crate) const HOST: &str = "llm.nightshift.internal";

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

pub(crate) struct World {
    pub(crate) run: RunStatus,
    pub(crate) casebook: Arc<FakeCasebook>,
    issuer: Issuer,
    pub(crate) routes: Router,
}

/// A question that may be asked.
pub(crate) fn ask() -> Value {
    json!({ "model": "claude-a", "max_tokens": 1_000,
        "messages": [{ "role": "user", "content": "Find the cause." }] })
}

fn run() -> RunStatus {
    RunStatus {
        investigation: InvestigationId::generate(),
        tenant: TenantId::generate(),
        sandbox: SandboxId::generate(),
        epoch: Epoch(2),
        fired_at: chrono::DateTime::UNIX_EPOCH,
        connections: BTreeMap::new(),
    }
}

impl World {
    pub(crate) fn with_analyst() -> Self {
        Self::new(Providers::analyst_only(), RunLimits::default())
    }

    pub(crate) fn with_tokens(tokens: u64) -> Self {
        Self::new(
            Providers::analyst_only(),
            RunLimits {
                tokens,
                ..RunLimits::default()
            },
        )
    }

    pub(crate) fn with_anthropic(base: &str) -> Self {
        Self::with_limits(base, RunLimits::default())
    }

    pub(crate) fn with_limits(base: &str, limits: RunLimits) -> Self {
        let account = AnthropicAccount {
            key: SecretString::from("sk-provider"),
            base: base.parse().unwrap(),
        };
        let anthropic = Arc::new(Anthropic::new(&account).unwrap());
        Self::new(Providers::with_fallback(anthropic), limits)
    }

    fn new(providers: Providers, limits: RunLimits) -> Self {
        let casebook = Arc::new(FakeCasebook::default());
        let run = run();
        casebook.make_live(&run);
        let issuer = Issuer::new("key-1");
        let rules = TokenRules {
            issuer: ISSUER.to_owned(),
            audience: Audience::Llm,
            origin: ORIGIN.parse().unwrap(),
        };
        let keys = Keyring::new(issuer.clone());
        let verifier = TokenVerifier::new(rules, keys, Arc::new(SystemClock));
        let runs: Arc<dyn Runs> = Arc::<FakeCasebook>::clone(&casebook);
        let log: Arc<dyn ModelLog> = Arc::<FakeCasebook>::clone(&casebook);
        let models = "claude-a,fast=claude-b".parse().unwrap();
        let audit: Arc<dyn EvidenceLog> = Arc::<FakeCasebook>::clone(&casebook);
        let clock = Arc::new(SystemClock);
        let gateway = Gateway::new(providers, models, limits, log, audit, clock);
        let routes = routes(gateway, Arc::new(Gate::new(verifier, runs)), HOST);
        Self {
            run,
            casebook,
            issuer,
            routes,
        }
    }

    pub(crate) fn another_run(&self) -> RunStatus {
        let run = run();
        self.casebook.make_live(&run);
        run
    }

    /// An `Authorization` value of the run.
    pub(crate) fn token(&self) -> String {
        self.token_with(&[Scope::ModelUse])
    }

    pub(crate) fn token_of(&self, run: &RunStatus) -> String {
        let claims = Issuer::claims(run, Audience::Llm, &[Scope::ModelUse], SystemClock.now());
        format!("DPoP {}", self.issuer.sign(&claims))
    }

    pub(crate) fn token_with(&self, scopes: &[Scope]) -> String {
        let claims = Issuer::claims(&self.run, Audience::Llm, scopes, SystemClock.now());
        format!("DPoP {}", self.issuer.sign(&claims))
    }

    pub(crate) async fn post(&self, body: &Value, token: &str) -> Answer {
        self.send("POST", "/v1/messages", body, &[("authorization", token)])
            .await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // As the supervisor does, whichever header the token is in.
        let token = headers
            .iter()
            .find(|(name, _)| ["authorization", "x-api-key"].contains(name));
        if let Some((_, value)) = token {
            let token = value.trim_start_matches("DPoP ");
            let proof = Holder::default().prove(method, &format!("{ORIGIN}{path}"), token);
            request = request.header("dpop", proof);
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        let (parts, body) = self
            .routes
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        let bytes = axum::body::to_bytes(body, 64 * 1024 * 1024).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    /// A question of the run as it goes over the wire.
    pub(crate) fn request(&self, body: Body) -> Request<Body> {
        let token = self.token();
        let path = "/v1/messages";
        let proof = Holder::default().prove(
            "POST",
            &format!("{ORIGIN}{path}"),
            token.trim_start_matches("DPoP "),
        );
        Request::post(path)
            .header("host", HOST)
            .header("authorization", token)
            .header("dpop", proof)
            .body(body)
            .unwrap()
    }

    /// Waits until this many requests to the model are recorded: recording never holds an answer up.
    pub(crate) async fn recorded(&self, count: usize) -> Vec<RecordModelUse> {
        for _ in 0..200 {
            let used = self.casebook.model_uses();
            if used.len() >= count {
                return used;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("recorded: {:?}", self.casebook.model_uses());
    }
}
