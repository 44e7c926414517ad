//! An API over a real PostgreSQL, two tenants, and a client.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use chrono::{DateTime, Utc};
use http_body_util::BodyExt;
use nightshift_api::{ApiState, Tokens, router};
use nightshift_domain::{
    EndpointId, InvestigationId, PoolId,
    alert::{AlertStatus, Severity, Signal},
};
use nightshift_engine::{
    Clock,
    intake::{self, Arrival},
};
use nightshift_store::{CHANNEL_EVENTS, Endpoint, Pool, Role, Store};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;

pub(crate) const TOKEN: &str = "an-operator-token-for-tests";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed(DateTime<Utc>);

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) pg: PgPool,
    /// The API's own connections.
    pub(crate) acting: PgPool,
    pub(crate) clock: Fixed,
    pub(crate) pool: PoolId,
    pub(crate) endpoints: Vec<Endpoint>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let items = self.body["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl World {
    pub(crate) async fn new(pg: PgPool) -> Self {
        let store = Store::new(pg.clone());
        let clock = Fixed("2026-11-20T03:00:00Z".parse().unwrap());
        let mut tx = store.begin().await.unwrap();
        let pool = Pool {
            id: PoolId::generate(),
            name: "test".to_owned(),
            region: "local".to_owned(),
            image: "sandbox@sha256:5a".to_owned(),
            target_ready: 3,
            max_sandboxes: 10,
        };
        let pool = tx.put_pool(&pool, clock.now()).await.unwrap();
        let mut endpoints = vec![];
        for slug in ["bakery", "dairy"] {
            let tenant = tx.put_tenant(slug, 10, 1_000, clock.now()).await.unwrap();
            let endpoint = Endpoint {
                id: EndpointId::generate(),
                tenant,
                source: "generic".to_owned(),
                path_token: slug.to_owned(),
                secret_refs: vec![],
                mapping: None,
            };
            tx.put_endpoint(&endpoint, clock.now()).await.unwrap();
            endpoints.push(endpoint);
        }
        tx.commit().await.unwrap();
        let tokens = Tokens::new(&[TOKEN.into()]).unwrap();
        // The tests prepare as the database's owner; the API is what it is in production.
        let acting = Role::Api.acting(&pg.connect_options(), 4).await.unwrap();
        let own = Store::new(acting.clone()).beside(&store);
        let router = router(ApiState::new(own, Arc::new(clock), tokens));
        Self {
            router,
            store,
            pg,
            acting,
            clock,
            pool,
            endpoints,
        }
    }

    /// Takes a firing alert of a tenant in.
    pub(crate) async fn alert(&self, tenant: usize, key: &str) -> InvestigationId {
        let signal = Signal {
            source_key: key.to_owned(),
            status: AlertStatus::Firing,
            title: format!("{key} is slow"),
            service: Some(key.to_owned()),
            severity: Severity::High,
            fired_at: self.clock.now(),
            link: None,
            details: json!({"key": key}),
        };
        let arrival = Arrival {
            delivery_key: key,
            body: b"{}",
            signal,
        };
        let endpoint = &self.endpoints[tenant];
        let taken = intake::accept(&self.store, &self.clock, endpoint, arrival)
            .await
            .unwrap();
        taken.investigation.unwrap()
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
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

    pub(crate) async fn read(&self, path: &str) -> Answer {
        self.request(Method::GET, path, Some(TOKEN), Body::empty())
            .await
    }

    pub(crate) async fn send(&self, path: &str, body: &Value) -> Answer {
        self.request(
            Method::POST,
            path,
            Some(TOKEN),
            Body::from(body.to_string()),
        )
        .await
    }

    pub(crate) async fn add_event(&self, id: InvestigationId, kind: &str, after_ms: i64) {
        let at = self.clock.now() + chrono::TimeDelta::milliseconds(after_ms);
        let mut tx = self.store.begin().await.unwrap();
        tx.add_event(id, kind, &json!({}), at).await.unwrap();
        tx.commit().await.unwrap();
        self.store.signals().send(CHANNEL_EVENTS);
    }
}
