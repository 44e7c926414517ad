//! Feature flags of a process: set at start, switched at run time on the operators' port.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Json, Router, routing::post};
use serde::Deserialize;
use serde_json::json;

use crate::telemetry::Telemetry;

/// The flags of one process.
#[derive(Debug, Clone)]
pub struct Flags {
    on: Arc<Mutex<BTreeMap<String, bool>>>,
    telemetry: Arc<Telemetry>,
}

#[derive(Deserialize)]
struct Switch {
    flag: String,
    on: bool,
}

impl Flags {
    /// The flags that are on at start.
    #[must_use]
    pub fn new(telemetry: &Arc<Telemetry>, on: &[String]) -> Self {
        let on = on.iter().map(|flag| (flag.clone(), true)).collect();
        Self {
            on: Arc::new(Mutex::new(on)),
            telemetry: Arc::clone(telemetry),
        }
    }

    /// Whether a flag is on.
    #[must_use]
    pub fn on(&self, flag: &str) -> bool {
        let on = self.on.lock().unwrap_or_else(PoisonError::into_inner);
        on.get(flag).copied().unwrap_or(false)
    }

    /// `POST /flags` for the operators' port.
    pub fn admin(&self) -> Router {
        let flags = self.clone();
        Router::new().route(
            "/flags",
            post(async move |Json(switch): Json<Switch>| {
                let message = format!("flag {} is now {}", switch.flag, switch.on);
                flags
                    .telemetry
                    .journal
                    .note(&message, json!({"flag": switch.flag}));
                let mut on = flags.on.lock().unwrap_or_else(PoisonError::into_inner);
                on.insert(switch.flag, switch.on);
            }),
        )
    }
}
