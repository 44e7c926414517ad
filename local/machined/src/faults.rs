//! Faults on request: each of the provider's failures, for the next so many calls.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Json, Router, body::Bytes, extract::State, http::StatusCode, routing::get};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    api::{Operation, parse},
    host::Host,
    refused::Refused,
};

/// Faults that wait for their call.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

/// A fault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// Which calls it strikes.
    pub(crate) operation: Operation,
    /// What happens to them.
    #[serde(rename = "fault")]
    pub(crate) kind: FaultKind,
    /// How many of them.
    #[serde(default = "once")]
    pub(crate) times: u32,
    /// For `slow_ms`: how long each is held up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ms: Option<u64>,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// There is no room for it.
    HostFull,
    /// It is done, and answered as if it had taken too long.
    TimeoutAfterEffect,
    /// 503, and nothing is done.
    ErrorBefore,
    /// 429, and nothing is done.
    RateLimited,
    /// The machine it is about is lost with its host, and its volume too.
    LostMachine,
    /// It is held up first.
    SlowMs,
    /// A list lacks the region, and says so.
    ErrorRegions,
}

const fn once() -> u32 {
    1
}

impl Faults {
    /// The fault that strikes this call, if one does.
    pub(crate) fn strike(&self, operation: Operation) -> Option<Fault> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = waiting
            .iter()
            .position(|fault| fault.operation == operation)?;
        let struck = waiting[at].clone();
        waiting[at].times -= 1;
        if waiting[at].times == 0 {
            waiting.remove(at);
        }
        Some(struck)
    }
}

/// `/faults`: POST adds one, GET lists those left, DELETE clears them.
pub(crate) fn routes() -> Router<Arc<Host>> {
    Router::new().route("/faults", get(list).post(add).delete(clear))
}

async fn list(State(host): State<Arc<Host>>) -> Json<Value> {
    let waiting = host.faults.0.lock().unwrap_or_else(PoisonError::into_inner);
    Json(json!({ "faults": *waiting }))
}

async fn add(State(host): State<Arc<Host>>, body: Bytes) -> Result<StatusCode, Refused> {
    let fault: Fault = parse(&body)?;
    if fault.times == 0 {
        return Err(Refused::invalid("a fault strikes at least once"));
    }
    if (fault.kind == FaultKind::SlowMs) != fault.ms.is_some() {
        return Err(Refused::invalid("`ms` goes with slow_ms, and only with it"));
    }
    tracing::info!(?fault, "a fault is set");
    host.faults
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(fault);
    Ok(StatusCode::CREATED)
}

async fn clear(State(host): State<Arc<Host>>) -> StatusCode {
    host.faults
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
    StatusCode::NO_CONTENT
}
