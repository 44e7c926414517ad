//! Faults on request: each of the provider's failures, for the next so many calls.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

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
    /// For `slow_ms`, `lingers` and `lagging`: how long.
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
    /// A list is as it was some time ago.
    Lagging,
    /// 404, as right after a creation elsewhere; nothing is done.
    NotFoundYet,
    /// 403: the organisation has used up its memory here; nothing is done.
    OverQuota,
    /// The machine is made and never gets ready.
    StuckCreated,
    /// Destroying takes some time.
    Lingers,
    /// 412: the volume is still a dying machine's; nothing is done.
    StillBound,
    /// 400: the volume that is asked for is gone where it counts; nothing is done.
    StaleVolume,
}

impl FaultKind {
    /// Whether it needs to know how long.
    const fn takes_time(self) -> bool {
        matches!(self, Self::SlowMs | Self::Lagging | Self::Lingers)
    }
}

impl Fault {
    /// How long, for the kinds that take time.
    pub(crate) const fn duration(&self) -> Duration {
        Duration::from_millis(match self.ms {
            Some(ms) => ms,
            None => 0,
        })
    }
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
    if fault.kind.takes_time() != fault.ms.is_some() {
        return Err(Refused::invalid(
            "`ms` goes with slow_ms, lingers and lagging, and only with them",
        ));
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
