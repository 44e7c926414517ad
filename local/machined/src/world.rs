//! What exists now, in memory: the records, and beside them what does not outlive the process.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    record::{AppRecord, MachineRecord, VolumeRecord},
    refused::Refused,
    sandbox::Live,
    state::State,
};

/// Everything that exists.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) apps: BTreeMap<String, AppRecord>,
    pub(crate) volumes: BTreeMap<String, VolumeRecord>,
    pub(crate) machines: BTreeMap<String, MachineCell>,
}

/// A machine with what runs of it.
#[derive(Debug)]
pub(crate) struct MachineCell {
    pub(crate) record: MachineRecord,
    /// Told of every change of state.
    pub(crate) changed: Arc<Notify>,
    /// Its sandbox, while it runs.
    pub(crate) live: Option<Live>,
    /// Until when it refuses to start after its exit.
    pub(crate) active_until: Option<Instant>,
    /// Whether somebody asked it to stop since its last start.
    pub(crate) stop_asked: bool,
    /// How much longer than it must its destroying takes.
    pub(crate) lingers: Duration,
    /// When it restarted by itself, lately.
    pub(crate) restarts: Vec<Instant>,
}

impl MachineCell {
    pub(crate) fn new(record: MachineRecord) -> Self {
        Self {
            record,
            changed: Arc::new(Notify::new()),
            live: None,
            active_until: None,
            stop_asked: false,
            lingers: Duration::ZERO,
            restarts: Vec::new(),
        }
    }

    /// Whether it still takes a name, a slot and a place under the limit.
    pub(crate) fn exists(&self) -> bool {
        self.record.state != State::Destroyed
    }
}

impl World {
    /// An app that is not being deleted.
    pub(crate) fn app(&self, name: &str) -> Result<&AppRecord, Refused> {
        let app = self.apps.get(name).filter(|app| !app.deleting);
        app.ok_or_else(|| Refused::not_found("app"))
    }

    /// A machine of an app, the lately destroyed ones included.
    pub(crate) fn machine(&mut self, app: &str, id: &str) -> Result<&mut MachineCell, Refused> {
        let cell = self
            .machines
            .get_mut(id)
            .filter(|cell| cell.record.app == app);
        cell.ok_or_else(|| Refused::not_found("machine"))
    }

    /// A volume of an app, the lately deleted ones included.
    pub(crate) fn volume(&mut self, app: &str, id: &str) -> Result<&mut VolumeRecord, Refused> {
        let volume = self.volumes.get_mut(id).filter(|volume| volume.app == app);
        volume.ok_or_else(|| Refused::not_found("volume"))
    }

    /// The machines of an app that are not destroyed.
    pub(crate) fn machines_of(&self, app: &str) -> impl Iterator<Item = &MachineCell> {
        self.machines
            .values()
            .filter(move |cell| cell.record.app == app && cell.exists())
    }
}
