//! Machines: create, start, stop, delete, and what they say of themselves.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Client, ImageRef, MachineConfig, MachinesError, transport::Call};

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The provider's id.
    pub id: String,
    /// Our name for it, unique among the app's machines that are not destroyed.
    pub name: String,
    /// Where it is in its life.
    pub state: MachineState,
    /// Where it runs.
    #[serde(default)]
    pub region: String,
    /// The version of its configuration; the `machine_version` of its identity.
    #[serde(default)]
    pub instance_id: String,
    /// Its configuration; absent while its host does not answer.
    #[serde(default)]
    pub config: Option<MachineConfig>,
    /// Which image it has.
    #[serde(default)]
    pub image_ref: ImageRef,
    /// `ok`, `unknown` or `unreachable`.
    #[serde(default)]
    pub host_status: String,
    /// What happened to it, the newest first.
    #[serde(default)]
    pub events: Vec<MachineEvent>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// Where a machine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineState {
    /// Made; its image may still be on the way, and start is refused until it is stopped.
    Created,
    /// Booting.
    Starting,
    /// Running.
    Started,
    /// Going down.
    Stopping,
    /// At rest.
    Stopped,
    /// Going down to come up again.
    Restarting,
    /// Being frozen.
    Suspending,
    /// Frozen.
    Suspended,
    /// Could not be made to run.
    Failed,
    /// Its first start failed.
    LaunchFailed,
    /// Getting another configuration.
    Updating,
    /// Making room for its next version.
    Replacing,
    /// An old version of itself.
    Replaced,
    /// Moved to another host.
    Migrated,
    /// Being destroyed; may last while its host is away.
    Destroying,
    /// Gone; shown for a while.
    Destroyed,
    /// A word this version does not know.
    #[serde(other)]
    Unknown,
}

/// Something that happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineEvent {
    /// The provider's id; later ones sort after earlier ones.
    #[serde(default)]
    pub id: String,
    /// `launch`, `start`, `exit`, `stop`, `destroy` and more.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// The state it led to.
    #[serde(default)]
    pub status: String,
    /// Who caused it: `user` or `flyd`.
    #[serde(default)]
    pub source: String,
    /// When, in milliseconds since 1970.
    #[serde(default)]
    pub timestamp: i64,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<EventRequest>,
}

/// More about an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRequest {
    /// How the machine exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_event: Option<ExitEvent>,
}

/// How a machine exited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitEvent {
    /// The exit code; 128 and the signal when one killed it.
    #[serde(default)]
    pub exit_code: i32,
    /// The exit code of the entrypoint itself.
    #[serde(default)]
    pub guest_exit_code: i32,
    /// Whether memory ran out.
    #[serde(default)]
    pub oom_killed: bool,
    /// Whether somebody had asked it to stop.
    #[serde(default)]
    pub requested_stop: bool,
    /// Whether it starts again by itself.
    #[serde(default)]
    pub restarting: bool,
    /// The signal that killed it, or 0.
    #[serde(default)]
    pub signal: i32,
    /// When it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exited_at: Option<DateTime<Utc>>,
}

/// A machine to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMachine {
    /// Deterministic, so that a lost answer can be looked up.
    pub name: String,
    /// Where; the region of its volume.
    pub region: String,
    /// What it is made of.
    pub config: MachineConfig,
    /// Whether to prepare it only: it rests in `stopped` once its image is there.
    #[serde(default)]
    pub skip_launch: bool,
}

/// The answer to a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The state it was in; `started` when there was nothing to do.
    #[serde(default)]
    pub previous_state: String,
    /// Whether it moved to another host first.
    #[serde(default)]
    pub migrated: bool,
}

impl Machine {
    /// How it exited last, if its events still tell.
    #[must_use]
    pub fn last_exit(&self) -> Option<&ExitEvent> {
        self.events
            .iter()
            .filter(|event| event.kind == "exit")
            .max_by_key(|event| event.timestamp)
            .and_then(|event| event.request.as_ref()?.exit_event.as_ref())
    }
}

impl Client {
    /// Creates a machine. [`MachinesError::NameTaken`] names the machine a lost earlier call made.
    pub async fn create_machine(
        &self,
        app: &str,
        machine: &NewMachine,
    ) -> Result<Machine, MachinesError> {
        self.send(Call::post(["apps", app, "machines"]).json(machine)?)
            .await
    }

    /// Reads a machine. One that was destroyed is shown as such for a while, then not found.
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine, MachinesError> {
        self.send(Call::read(["apps", app, "machines", id])).await
    }

    /// Lists an app's machines that are not destroyed. Absence from it proves nothing: the list
    /// lags behind.
    pub async fn machines(&self, app: &str) -> Result<Vec<Machine>, MachinesError> {
        self.paged(|| Call::read(["apps", app, "machines"])).await
    }

    /// The app's machine of that name, if the list has it.
    pub async fn find_machine(
        &self,
        app: &str,
        name: &str,
    ) -> Result<Option<Machine>, MachinesError> {
        let machines = self.machines(app).await?;
        let lives = |state| !matches!(state, MachineState::Destroyed | MachineState::Replaced);
        Ok(machines
            .into_iter()
            .find(|machine| machine.name == name && lives(machine.state)))
    }

    /// Starts a machine: one request on a connection kept open. Starting a started one is no error.
    pub async fn start(&self, app: &str, id: &str) -> Result<Started, MachinesError> {
        self.send(Call::post(["apps", app, "machines", id, "start"]))
            .await
    }

    /// Asks a machine to stop, and returns before it has: see [`Client::wait`].
    pub async fn stop(&self, app: &str, id: &str) -> Result<(), MachinesError> {
        let call = Call::post(["apps", app, "machines", id, "stop"]).json(&json!({}))?;
        self.answer(call).await.map(drop)
    }

    /// Deletes a machine that does not run.
    pub async fn delete_machine(&self, app: &str, id: &str) -> Result<(), MachinesError> {
        self.answer(Call::delete(["apps", app, "machines", id]))
            .await
            .map(drop)
    }

    /// Deletes a machine whatever it does. It is gone only once [`Client::wait`] says destroyed.
    pub async fn force_delete_machine(&self, app: &str, id: &str) -> Result<(), MachinesError> {
        let call = Call::delete(["apps", app, "machines", id]).query("force", &true);
        self.answer(call).await.map(drop)
    }

    /// Reads a machine's metadata.
    pub async fn metadata(
        &self,
        app: &str,
        id: &str,
    ) -> Result<BTreeMap<String, String>, MachinesError> {
        self.send(Call::read(["apps", app, "machines", id, "metadata"]))
            .await
    }

    /// Sets some of a machine's metadata, and removes those given as `None`. Neither restarts it
    /// nor makes a new version.
    pub async fn set_metadata(
        &self,
        app: &str,
        id: &str,
        metadata: &BTreeMap<String, Option<String>>,
    ) -> Result<(), MachinesError> {
        let body: Value = json!({ "metadata": metadata });
        let call = Call::patch(["apps", app, "machines", id, "metadata"]).json(&body)?;
        self.answer(call).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_in_the_documented_shape_is_read_and_unknown_words_are_survived() {
        let machine: Machine = serde_json::from_value(json!({
            "id": "148e21ea7d5389", "name": "sbx-1", "state": "hibernating", "region": "ams",
            "instance_id": "01J3Z0", "version": "01J3Z0", "private_ip": "fdaa::1",
            "config": { "image": "r/i@sha256:00", "guest": { "cpu_kind": "shared", "cpus": 1,
                "memory_mb": 256 }, "restart": { "policy": "on-failure" }, "services": [] },
            "image_ref": { "registry": "registry.fly.io", "repository": "i", "digest": "sha256:00" },
            "host_status": "ok", "created_at": "2026-07-01T10:00:00Z",
            "updated_at": "2026-07-01T10:00:05.5Z", "checks": null,
            "events": [
                { "id": "2", "type": "exit", "status": "stopped", "source": "flyd",
                  "timestamp": 20, "request": { "exit_event": { "exit_code": 3 } } },
                { "id": "1", "type": "start", "status": "started", "source": "user",
                  "timestamp": 10 } ]
        }))
        .unwrap();
        assert_eq!(machine.state, MachineState::Unknown);
        assert_eq!(machine.last_exit().map(|exit| exit.exit_code), Some(3));
    }
}
