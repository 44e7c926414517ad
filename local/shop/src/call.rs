//! Calling another service or an outside system over HTTP, with a span, metrics and a time limit.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::telemetry::{Telemetry, spans::OpenSpan, trace::Trace};

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer in time.
    #[error("{peer} gave no answer within {limit_ms} ms")]
    TimedOut {
        /// Whom we called.
        peer: String,
        /// How long we waited.
        limit_ms: u128,
    },
    /// No connection, or it broke.
    #[error("{peer} cannot be reached")]
    Unreachable {
        /// Whom we called.
        peer: String,
    },
    /// An answer that is not a success.
    #[error("{peer} answered {status}")]
    Refused {
        /// Whom we called.
        peer: String,
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        body: Value,
    },
    /// An answer that we do not understand.
    #[error("{peer} answered something we do not understand")]
    Malformed {
        /// Whom we called.
        peer: String,
    },
}

impl CallError {
    /// The status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::TimedOut { .. } | Self::Unreachable { .. } | Self::Malformed { .. } => None,
        }
    }
}

/// A client of one other system.
#[derive(Debug, Clone)]
pub struct Peer {
    name: String,
    address: String,
    limit: Duration,
    client: Client<HttpConnector, Full<Bytes>>,
    telemetry: Arc<Telemetry>,
}

impl Peer {
    /// A client of the system `name` at `address`, which waits for an answer no longer than `limit`.
    #[must_use]
    pub fn new(telemetry: &Arc<Telemetry>, name: &str, address: String, limit: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            name: name.to_owned(),
            address,
            limit,
            client: Client::builder(TokioExecutor::new())
                .pool_idle_timeout(Duration::from_secs(20))
                .build(connector),
            telemetry: Arc::clone(telemetry),
        }
    }

    /// `GET path`; `route` is the path with its variable parts named.
    pub async fn get<T: DeserializeOwned>(
        &self,
        trace: &Trace,
        route: &str,
        path: &str,
    ) -> Result<T, CallError> {
        self.call(trace, Method::GET, route, path, Bytes::new())
            .await
    }

    /// `POST path` with a JSON body.
    pub async fn post<T: DeserializeOwned>(
        &self,
        trace: &Trace,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).map_err(|_unserializable| CallError::Malformed {
            peer: self.name.clone(),
        })?;
        self.call(trace, Method::POST, path, path, body.into())
            .await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        trace: &Trace,
        method: Method,
        route: &str,
        path: &str,
        body: Bytes,
    ) -> Result<T, CallError> {
        let trace = trace.child();
        let span = OpenSpan::client(trace, &format!("{method} {route}"), &self.name);
        let limited = tokio::time::timeout(self.limit, self.send(&trace, method, path, body)).await;
        let outcome = limited.unwrap_or_else(|_elapsed| {
            Err(CallError::TimedOut {
                peer: self.name.clone(),
                limit_ms: self.limit.as_millis(),
            })
        });

        let (status, ok) = match &outcome {
            Ok(_) => ("200".to_owned(), true),
            Err(CallError::Refused { status, .. }) => {
                (status.as_u16().to_string(), !status.is_server_error())
            }
            Err(CallError::TimedOut { .. }) => ("timeout".to_owned(), false),
            Err(CallError::Unreachable { .. }) => ("unreachable".to_owned(), false),
            Err(CallError::Malformed { .. }) => ("malformed".to_owned(), false),
        };
        let peer = [("peer", self.name.as_str())];
        self.telemetry
            .metrics
            .observe("http_client_duration_seconds", &peer, span.seconds());
        let labels = [("peer", self.name.as_str()), ("status", status.as_str())];
        self.telemetry
            .metrics
            .count("http_client_requests_total", &labels, 1.0);
        let attribute = match status.parse::<u16>() {
            Ok(code) => json!({"http.status_code": code}),
            Err(_no_answer) => json!({"error.type": status}),
        };
        self.telemetry.spans.end(&span, ok, attribute);
        outcome
    }

    async fn send<T: DeserializeOwned>(
        &self,
        trace: &Trace,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, CallError> {
        let unreachable = || CallError::Unreachable {
            peer: self.name.clone(),
        };
        let malformed = || CallError::Malformed {
            peer: self.name.clone(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/json")
            .header("traceparent", trace.header())
            .body(Full::new(body))
            .map_err(|_bad_uri| malformed())?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|_broken| unreachable())?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|_broken| unreachable())?;
        let body = body.to_bytes();
        if !status.is_success() {
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            return Err(CallError::Refused {
                peer: self.name.clone(),
                status,
                body,
            });
        }
        serde_json::from_slice(&body).map_err(|_not_json| malformed())
    }
}
