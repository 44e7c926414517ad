//! What is kept on disk: one record per app, volume and machine.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use nightshift_machines::{
    EventRequest, ImageRef, Machine, MachineConfig, MachineEvent, NetworkPolicy, Volume,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{clock, id, state::State};

/// Events kept per machine.
const EVENTS_MAX: usize = 50;

/// An app.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AppRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) network: String,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) policies: Vec<NetworkPolicy>,
    pub(crate) created_at: DateTime<Utc>,
    /// Whether it and what is in it is being deleted.
    #[serde(default)]
    pub(crate) deleting: bool,
}

/// A volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    pub(crate) app: String,
    pub(crate) volume: Volume,
    /// Which range of host users its files belong to, once a machine had it.
    pub(crate) slot: Option<u32>,
}

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MachineRecord {
    pub(crate) id: String,
    pub(crate) app: String,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) version: String,
    pub(crate) config: MachineConfig,
    pub(crate) image: ImageRef,
    /// Which range of host users is its own.
    pub(crate) slot: u32,
    pub(crate) skip_launch: bool,
    pub(crate) state: State,
    pub(crate) events: Vec<MachineEvent>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl MachineRecord {
    /// Moves it to `state` and notes why.
    pub(crate) fn become_state(
        &mut self,
        state: State,
        kind: &str,
        source: &str,
        request: Option<EventRequest>,
    ) {
        let now = clock::now();
        self.state = state;
        self.updated_at = now;
        let event = MachineEvent {
            id: id::ulid(),
            kind: kind.to_owned(),
            status: state.to_string(),
            source: source.to_owned(),
            timestamp: now.timestamp_millis(),
            request,
        };
        self.events.insert(0, event);
        self.events.truncate(EVENTS_MAX);
    }

    /// It as it was then, as far as its events tell; none where it did not exist.
    pub(crate) fn as_of(&self, then: DateTime<Utc>) -> Option<Self> {
        if self.updated_at <= then {
            return Some(self.clone());
        }
        let before = |event: &&MachineEvent| event.timestamp <= then.timestamp_millis();
        let status = json!(self.events.iter().find(before)?.status);
        let state = serde_json::from_value(status).ok()?;
        Some(Self {
            state,
            ..self.clone()
        })
    }

    /// The volume it has, if any.
    pub(crate) fn volume(&self) -> Option<&str> {
        self.config
            .mounts
            .first()
            .map(|mount| mount.volume.as_str())
    }

    /// How the API shows it.
    pub(crate) fn shown(&self) -> Value {
        let machine = Machine {
            id: self.id.clone(),
            name: self.name.clone(),
            state: self.state.into(),
            region: self.region.clone(),
            instance_id: self.version.clone(),
            config: Some(self.config.clone()),
            image_ref: self.image.clone(),
            host_status: "ok".to_owned(),
            events: self.events.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        };
        let mut shown = json!(machine);
        shown["version"] = json!(self.version);
        shown["private_ip"] = json!("");
        shown
    }

    /// How the organisation's list shows it.
    pub(crate) fn shown_in_org(&self) -> Value {
        json!({
            "id": self.id,
            "app_name": self.app,
            "name": self.name,
            "region": self.region,
            "state": self.state,
            "version": self.version,
            "private_ip": "",
            "config": {
                "image": self.config.image,
                "guest": self.config.guest,
                "metadata": self.config.metadata,
            },
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }

    /// Whether it has every one of these words.
    pub(crate) fn has_metadata(&self, wanted: &BTreeMap<String, String>) -> bool {
        wanted
            .iter()
            .all(|(key, value)| self.config.metadata.get(key) == Some(value))
    }
}
