//! An intake over a real PostgreSQL, and a sender that can sign.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use http_body_util::BodyExt;
use nightshift_alert_intake::{IntakeState, router};
use nightshift_domain::{EndpointId, PoolId};
use nightshift_engine::Clock;
use nightshift_lambda::{FileSecrets, SealedFile};
use nightshift_store::{Endpoint, Pool, Role, Store};
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::PgPool;
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) const SECRET: &str = "the-webhook-secret";
pub(crate) const OLD_SECRET: &str = "the-secret-before-it";

#[derive(Debug, Clone, Copy)]
struct Fixed(DateTime<Utc>);

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

pub(crate) struct Intake {
    pub(crate) router: Router,
    pub(crate) pg: PgPool,
    /// Intake's own connections.
    pub(crate) acting: PgPool,
    pub(crate) secrets: TempDir,
}

pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-20T03:00:00Z".parse().unwrap()
}

impl Intake {
    pub(crate) async fn over(pg: PgPool, max_queued: i32) -> Self {
        let store = Store::new(pg.clone());
        let mut tx = store.begin().await.unwrap();
        let pool = Pool {
            id: PoolId::generate(),
            name: "test".to_owned(),
            region: "local".to_owned(),
            image: "sandbox@sha256:00".to_owned(),
            target_ready: 0,
            max_sandboxes: 10,
        };
        tx.put_pool(&pool, now()).await.unwrap();
        let tenant = tx
            .put_tenant("bakery", 10, max_queued, now())
            .await
            .unwrap();
        for (source, path_token) in [("pagerduty", "pd-token"), ("generic", "any-token")] {
            let endpoint = Endpoint {
                id: EndpointId::generate(),
                tenant,
                source: source.to_owned(),
                path_token: path_token.to_owned(),
                secret_refs: vec!["hook/new".to_owned(), "hook/old".to_owned()],
                mapping: None,
            };
            tx.put_endpoint(&endpoint, now()).await.unwrap();
        }
        tx.commit().await.unwrap();

        // Prepared as the database's owner; intake is what it is in production.
        let acting = Role::Intake
            .acting(&pg.connect_options(), 10)
            .await
            .unwrap();
        let secrets = TempDir::new().unwrap();
        let path = secrets.path().join("secrets.sealed");
        let kept = [("hook/new", SECRET), ("hook/old", OLD_SECRET)];
        let kept = kept.map(|(name, secret)| (name.to_owned(), secret.to_owned()));
        SealedFile::at(&path).seal(&kept.into()).unwrap();
        let state = IntakeState {
            store: Store::new(acting.clone()),
            clock: Arc::new(Fixed(now())),
            secrets: Arc::new(FileSecrets::new(path)),
        };
        Self {
            router: router(state),
            pg,
            acting,
            secrets,
        }
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, String)], body: Body) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = self
            .router
            .clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Delivers a PagerDuty body, signed.
    pub(crate) async fn page(&self, body: &str) -> Answer {
        let signature = (
            "x-pagerduty-signature",
            format!("v1={}", sign(SECRET, body.as_bytes())),
        );
        self.post(
            "/v1/hooks/pd-token",
            &[signature],
            Body::from(body.to_owned()),
        )
        .await
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = format!("select count(*) from {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&self.pg)
            .await
            .unwrap()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

pub(crate) fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

pub(crate) fn incident(event_id: &str, event_type: &str, id: &str) -> String {
    let status = if event_type == "incident.resolved" {
        "resolved"
    } else {
        "triggered"
    };
    json!({"event": {
        "id": event_id, "event_type": event_type, "resource_type": "incident",
        "occurred_at": "2026-11-20T02:59:58Z",
        "data": {
            "id": id, "type": "incident", "status": status, "title": "Bread is late",
            "created_at": "2026-11-20T02:58:00Z", "urgency": "high",
            "service": {"id": "P1", "type": "service_reference", "summary": "oven"},
        },
    }})
    .to_string()
}
