//! `…/machines/ID/wait`: until a machine is in a state, 60 seconds at most.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{host::Host, refused::Refused, state, world::MachineCell};

/// States that can be waited for.
const WAITABLE: [&str; 6] = [
    "started",
    "stopped",
    "suspended",
    "destroyed",
    "failed",
    "settled",
];

/// What is waited for.
#[derive(Debug)]
struct Wanted {
    states: Vec<String>,
    timeout: Duration,
    version: Option<String>,
    from_event: Option<String>,
}

pub(crate) async fn wait(
    State(host): State<Arc<Host>>,
    Path((app, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Refused> {
    let wanted = Wanted::read(&query.unwrap_or_default())?;
    let until = Instant::now() + wanted.timeout;
    loop {
        let changed = Arc::clone(&host.world().machine(&app, &id)?.changed);
        // Enabled before the look, so that no change between look and wait is missed.
        let mut notified = std::pin::pin!(changed.notified());
        notified.as_mut().enable();
        let current = {
            let mut world = host.world();
            let cell = world.machine(&app, &id)?;
            if wanted.is_met(cell) {
                return Ok(Json(json!({
                    "ok": true,
                    "state": cell.record.state.word(),
                    "version": cell.record.version,
                    "event_id": cell.record.events.first().map(|event| event.id.as_str()),
                })));
            }
            wanted.check(cell)?;
            cell.record.state
        };
        if tokio::time::timeout_at(until, notified).await.is_err() {
            return Err(Refused::wait_timed_out(&wanted.states.join(","), current));
        }
    }
}

impl Wanted {
    /// Reads the query by hand: `state` may come several times, or as a list.
    fn read(query: &str) -> Result<Self, Refused> {
        let mut wanted = Self {
            states: Vec::new(),
            timeout: Duration::from_mins(1),
            version: None,
            from_event: None,
        };
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "state" => {
                    let states = value.replace("%2C", ",");
                    wanted.states.extend(states.split(',').map(str::to_owned));
                }
                "timeout" => {
                    let seconds: u64 =
                        value.parse().map_err(|_| Refused::wait_timeout_invalid())?;
                    if !(1..=60).contains(&seconds) {
                        return Err(Refused::wait_timeout_invalid());
                    }
                    wanted.timeout = Duration::from_secs(seconds);
                }
                "version" | "instance_id" => wanted.version = Some(value.to_owned()),
                "from_event_id" => wanted.from_event = Some(value.to_owned()),
                _ => {}
            }
        }
        if wanted.states.is_empty() {
            wanted.states.push("started".to_owned());
        }
        match wanted
            .states
            .iter()
            .find(|state| !WAITABLE.contains(&state.as_str()))
        {
            Some(state) => Err(Refused::invalid(format!("cannot wait for state {state}"))),
            None => Ok(wanted),
        }
    }

    fn is_met(&self, cell: &MachineCell) -> bool {
        let newest = cell
            .record
            .events
            .first()
            .map_or("", |event| event.id.as_str());
        if self
            .from_event
            .as_deref()
            .is_some_and(|from| newest <= from)
        {
            return false;
        }
        let state = cell.record.state;
        self.states.iter().any(|wanted| match wanted.as_str() {
            "settled" => state.is_settled(),
            wanted => state.word() == wanted,
        })
    }

    /// Refuses what cannot come any more.
    fn check(&self, cell: &MachineCell) -> Result<(), Refused> {
        let (record, wanted) = (&cell.record, self.states.join(","));
        if self
            .version
            .as_ref()
            .is_some_and(|version| *version != record.version)
        {
            return Err(Refused::invalid("the machine does not have that version"));
        }
        let comes = |wanted: &String| match record.state {
            state::State::Destroying | state::State::Destroyed => {
                matches!(wanted.as_str(), "destroyed" | "settled")
            }
            state::State::Stopping => wanted != "started",
            state::State::Created
            | state::State::Starting
            | state::State::Started
            | state::State::Stopped
            | state::State::Suspending
            | state::State::Suspended
            | state::State::Failed => true,
        };
        if self.states.iter().any(comes) {
            return Ok(());
        }
        Err(Refused::wait_not_heading(&wanted, record.state))
    }
}
