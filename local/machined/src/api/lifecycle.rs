//! `…/machines/ID/start`, `/stop`, `/suspend`, and DELETE.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
};
use nightshift_machines::StopConfig;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Struck, parse};
use crate::{
    faults::{Fault, FaultKind},
    host::Host,
    refused::Refused,
    sandbox::signal_by_name,
};

/// How long a machine may take to stop before it is killed, unless it says otherwise.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn start(
    State(host): State<Arc<Host>>,
    struck: Option<Extension<Struck>>,
    Path((app, id)): Path<(String, String)>,
) -> Result<Json<Value>, Refused> {
    if super::struck(struck.as_ref(), FaultKind::HostFull).is_some() {
        host.world().machine(&app, &id)?;
        return Err(Refused::host_full());
    }
    let previous = host.start(&app, &id, "user").await?;
    Ok(Json(json!({
        "previous_state": previous.word(),
        "migrated": false,
        "new_host": "",
    })))
}

pub(crate) async fn stop(
    State(host): State<Arc<Host>>,
    Path((app, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let asked: StopConfig = parse(&body)?;
    let own = host
        .world()
        .machine(&app, &id)?
        .record
        .config
        .stop_config
        .clone();
    let own = own.unwrap_or_default();
    let signal = match asked.signal.or(own.signal) {
        Some(name) => signal_by_name(&name)
            .ok_or_else(|| Refused::invalid(format!("signal {name} cannot be sent")))?,
        None => Signal::INT,
    };
    let timeout = match asked.timeout.or(own.timeout) {
        Some(text) => {
            go_duration(&text).ok_or_else(|| Refused::invalid(format!("timeout {text}")))?
        }
        None => STOP_TIMEOUT,
    };
    host.stop(&app, &id, signal, timeout)?;
    Ok(Json(json!({ "ok": true })))
}

pub(crate) async fn suspend(
    State(host): State<Arc<Host>>,
    Path((app, id)): Path<(String, String)>,
) -> Result<Json<Value>, Refused> {
    host.suspend(&app, &id)?;
    Ok(Json(json!({ "ok": true })))
}

pub(crate) async fn remove(
    State(host): State<Arc<Host>>,
    struck: Option<Extension<Struck>>,
    Path((app, id)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Refused> {
    let force = ["force", "kill"]
        .iter()
        .any(|key| query.get(*key).is_some_and(|v| v == "true"));
    let lingers = super::struck(struck.as_ref(), FaultKind::Lingers).map(Fault::duration);
    host.destroy(&app, &id, force, lingers.unwrap_or_default())?;
    Ok(Json(json!({ "ok": true })))
}

/// A duration as Go writes it, in the forms one sends: `500ms`, `10s`, `1m`, `1m30s`.
fn go_duration(text: &str) -> Option<Duration> {
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let number: u64 = number.parse().ok()?;
        let (unit, tail) = tail.split_at(unit);
        total += match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            _ => return None,
        };
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_and_nonsense_is_not() {
        assert_eq!(go_duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(go_duration("500ms"), Some(Duration::from_millis(500)));
        for nonsense in ["", "10", "s", "10y", "-5s"] {
            assert_eq!(go_duration(nonsense), None, "{nonsense}");
        }
    }
}
