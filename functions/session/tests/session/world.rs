//! A session function over a real database, with sandboxes at every stage of their lives.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use chrono::{DateTime, Utc};
use http_body_util::BodyExt;
use nightshift_domain::{
    EndpointId, InvestigationId, PoolId, Sandbox, SandboxId, TenantId,
    alert::{AlertStatus, Severity, Signal},
    sandbox::Parts,
};
use nightshift_engine::{
    Clock,
    intake::{self, Arrival},
};
use nightshift_lambda::FileSecrets;
use nightshift_protocol::attestation::STATEMENT_AUDIENCE;
use nightshift_session::{
    Briefing, SessionState, SigningKey, SigningKeys, StatementVerifier, router,
};
use nightshift_store::{Endpoint, Pool, Role, Store};
use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;

use crate::issuer::Issuer;

pub(crate) const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
pub(crate) const OTHER_THUMBPRINT: &str = "AAAAsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
const DIGEST: &str = "sha256:5a5a";

#[derive(Debug, Clone, Copy)]
struct Fixed(DateTime<Utc>);

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

/// A run that waits for its machine to attest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) investigation: InvestigationId,
    pub(crate) sandbox: SandboxId,
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) issuer: Issuer,
    store: Store,
    clock: Fixed,
    router: Router,
    pool: PoolId,
    endpoint: Endpoint,
    /// What session itself asks the database through.
    pub(crate) acting: PgPool,
    /// Where the signing keys are.
    pub(crate) keys: Arc<tempfile::TempDir>,
}

/// What a sandbox is answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }
}

impl World {
    pub(crate) async fn new(pg: PgPool) -> Self {
        let issuer = Issuer::start().await;
        let store = Store::new(pg.clone());
        let clock = Fixed("2026-11-20T03:00:00Z".parse().unwrap());
        let mut tx = store.begin().await.unwrap();
        let pool = Pool {
            id: PoolId::generate(),
            name: "test".to_owned(),
            region: "local".to_owned(),
            image: format!("sandbox@{DIGEST}"),
            target_ready: 0,
            max_sandboxes: 10,
        };
        let pool = tx.put_pool(&pool, clock.now()).await.unwrap();
        let tenant: TenantId = tx.put_tenant("bakery", 10, 10, clock.now()).await.unwrap();
        let endpoint = Endpoint {
            id: EndpointId::generate(),
            tenant,
            source: "generic".to_owned(),
            path_token: "token".to_owned(),
            secret_refs: vec![],
            mapping: None,
        };
        tx.put_endpoint(&endpoint, clock.now()).await.unwrap();
        tx.commit().await.unwrap();

        // The tests prepare as the database's owner; session is what it is in production.
        let acting = Role::Session
            .acting(&pg.connect_options(), 4)
            .await
            .unwrap();
        let keys = tempfile::TempDir::new().unwrap();
        let secrets = Arc::new(FileSecrets::new(keys.path().join("none")));
        let state = SessionState {
            store: Store::new(acting.clone()),
            clock: Arc::new(clock),
            verifier: Arc::new(StatementVerifier::new(&issuer.url).unwrap()),
            keys: Arc::new(
                SigningKeys::open(SigningKey::File(keys.path().join("key.pem")), secrets, None)
                    .await
                    .unwrap(),
            ),
            issuer: "https://session.test".into(),
            briefing: Arc::new(Briefing::default()),
            servers: None,
        };
        Self {
            issuer,
            store,
            clock,
            router: router(state),
            pool,
            endpoint,
            acting,
            keys: Arc::new(keys),
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Makes a sandbox whose machine is called `machine`, up to ready.
    pub(crate) async fn ready(&self, machine: &str) -> SandboxId {
        let (id, now) = (SandboxId::generate(), self.now());
        let mut tx = self.store.begin().await.unwrap();
        let planned = Sandbox::plan(id, self.pool, now);
        tx.add_sandbox(&planned, now).await.unwrap();
        tx.apply_sandbox(planned.provision(now).unwrap(), now)
            .await
            .unwrap();
        let parts = Parts {
            app: Some(format!("app-{machine}")),
            volume: Some(format!("volume-{machine}")),
            machine: Some(machine.to_owned()),
            machine_version: Some(format!("version-{machine}")),
        };
        let made = tx.sandbox(id).await.unwrap().unwrap();
        tx.apply_sandbox(made.learn(parts).unwrap(), now)
            .await
            .unwrap();
        let made = tx.sandbox(id).await.unwrap().unwrap();
        tx.apply_sandbox(made.ready(now).unwrap(), now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Takes an alert in and gives its investigation the ready sandbox of `machine`, started.
    pub(crate) async fn claim(&self, machine: &str) -> Run {
        let now = self.now();
        let signal = Signal {
            source_key: machine.to_owned(),
            status: AlertStatus::Firing,
            title: format!("{machine} is slow"),
            service: None,
            severity: Severity::High,
            fired_at: now,
            link: None,
            details: json!({}),
        };
        let arrival = Arrival {
            delivery_key: machine,
            body: b"{}",
            signal,
        };
        let taken = intake::accept(&self.store, &self.clock, &self.endpoint, arrival)
            .await
            .unwrap();
        let investigation = taken.investigation.unwrap();

        let mut tx = self.store.begin().await.unwrap();
        let (found, _) = tx.sandbox_by_machine(machine).await.unwrap().unwrap();
        let sandbox = found.id;
        let claimed = found.claim(investigation, now).unwrap();
        let epoch = claimed.next.epoch;
        tx.apply_sandbox(claimed, now).await.unwrap();
        let queued = tx.investigation(investigation).await.unwrap().unwrap();
        tx.apply(queued.claim(sandbox, epoch, now).unwrap(), now)
            .await
            .unwrap();
        let claimed = tx.investigation(investigation).await.unwrap().unwrap();
        tx.apply(claimed.start(epoch, now).unwrap(), now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        Run {
            investigation,
            sandbox,
        }
    }

    /// A sandbox that was claimed and started.
    pub(crate) async fn claimed(&self, machine: &str) -> Run {
        self.ready(machine).await;
        self.claim(machine).await
    }

    pub(crate) async fn cancel(&self, id: InvestigationId) {
        let now = self.now();
        let mut tx = self.store.begin().await.unwrap();
        let found = tx.investigation(id).await.unwrap().unwrap();
        tx.apply(found.cancel("a test".to_owned(), now).unwrap(), now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn state_of(&self, id: InvestigationId) -> &'static str {
        let mut tx = self.store.begin().await.unwrap();
        tx.investigation(id).await.unwrap().unwrap().state.name()
    }

    /// The claims of a good statement of a machine, with a fresh identity.
    pub(crate) fn claims(&self, machine: &str) -> Value {
        let now = self.now().timestamp();
        json!({
            "iss": self.issuer.url, "aud": STATEMENT_AUDIENCE, "sub": format!("org:app:{machine}"),
            "app_name": format!("app-{machine}"), "machine_id": machine,
            "machine_version": format!("version-{machine}"), "image_digest": DIGEST,
            "region": "local", "jti": SandboxId::generate().to_string(),
            "iat": now, "nbf": now, "exp": now + 600,
        })
    }

    /// A good statement of a machine.
    pub(crate) fn statement(&self, machine: &str) -> String {
        self.issuer.sign("first", &self.claims(machine))
    }

    pub(crate) async fn attest(&self, statement: &str) -> Answer {
        let body = json!({"statement": statement, "key_thumbprint": THUMBPRINT});
        self.post("/v1/attest", body.to_string()).await
    }

    pub(crate) async fn refresh(&self, statement: &str, thumbprint: &str, epoch: i64) -> Answer {
        let body = json!({"statement": statement, "key_thumbprint": thumbprint, "epoch": epoch});
        self.post("/v1/refresh", body.to_string()).await
    }

    pub(crate) async fn post(&self, path: &str, body: String) -> Answer {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    pub(crate) async fn jwks(&self) -> Value {
        let request = Request::get("/.well-known/jwks.json")
            .body(Body::empty())
            .unwrap();
        self.send(request).await.body
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            content_type: parts.headers[header::CONTENT_TYPE]
                .to_str()
                .unwrap()
                .to_owned(),
            body: serde_json::from_slice(&body).unwrap(),
        }
    }
}

/// The claims of a token, if the key set that was published verifies it; by hand, with the curve.
pub(crate) fn verified<T: DeserializeOwned>(token: &str, key_set: &Value) -> T {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let decoded = |text: &str| B64.decode(text).unwrap();
    let header: Value = serde_json::from_slice(&decoded(header)).unwrap();
    let keys = key_set["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let coordinate = |name: &str| decoded(key[name].as_str().unwrap());
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let signature = Signature::from_slice(&decoded(signature)).unwrap();
    let key = VerifyingKey::from_sec1_bytes(&point).unwrap();
    key.verify(message.as_bytes(), &signature).unwrap();
    serde_json::from_slice(&decoded(claims)).unwrap()
}
