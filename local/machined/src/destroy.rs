//! The end of machines, volumes and apps. Each is asked for at once and done later.

use std::{sync::Arc, time::Duration};

use nightshift_machines::{Volume, VolumeState};

use crate::{
    clock,
    disk::{Table, remove_tree},
    host::Host,
    record::VolumeRecord,
    refused::Refused,
    sandbox::scrub,
    state::State,
};

impl Host {
    /// Begins destroying a machine, which takes that much longer than it must.
    pub(crate) fn destroy(
        self: &Arc<Self>,
        app: &str,
        id: &str,
        force: bool,
        lingers: Duration,
    ) -> Result<(), Refused> {
        let mut world = self.world();
        let cell = world.machine(app, id)?;
        let state = cell.record.state;
        match state {
            State::Destroying => return Ok(()),
            State::Destroyed => return Err(Refused::not_found("machine")),
            active if active.is_active() && !force => return Err(Refused::not_stopped()),
            State::Created
            | State::Starting
            | State::Started
            | State::Stopping
            | State::Stopped
            | State::Suspending
            | State::Suspended
            | State::Failed => {}
        }
        cell.lingers = lingers;
        cell.record
            .become_state(State::Destroying, "destroy", "user", None);
        self.keep(&cell.record);
        cell.changed.notify_waiters();
        match (&cell.live, state) {
            (Some(live), _) => live.init.kill(),
            // Its boot notices.
            (None, State::Starting | State::Stopping) => {}
            (None, _) => {
                tokio::spawn(Arc::clone(self).finish_destroy(id.to_owned()));
            }
        }
        Ok(())
    }

    /// Removes what is left of a machine that does not run any more.
    pub(crate) async fn finish_destroy(self: Arc<Self>, id: String) {
        let lingers = self.world().machines.get(&id).map(|cell| cell.lingers);
        tokio::time::sleep(lingers.unwrap_or_default()).await;
        let directory = self.disk.machine_dir(&id);
        let removed = tokio::task::spawn_blocking(move || remove_tree(&directory)).await;
        if let Ok(Err(error)) = removed {
            tracing::error!(%error, machine.id = id, "some of a machine is left");
        }
        {
            let mut world = self.world();
            let Some(cell) = world.machines.get_mut(&id) else {
                return;
            };
            cell.record.state = State::Destroyed;
            cell.record.updated_at = clock::now();
            if let Err(error) = self.disk.forget(Table::Machines, &id) {
                tracing::error!(%error, machine.id = id, "a machine's record is left");
            }
            cell.changed.notify_waiters();
        }
        tokio::time::sleep(self.config.release).await;
        self.release_volumes(&id);
        tokio::time::sleep(self.config.tombstone).await;
        self.world().machines.remove(&id);
    }

    fn release_volumes(&self, machine: &str) {
        let mut world = self.world();
        let held = world
            .volumes
            .values_mut()
            .filter(|record| record.volume.attached_machine_id.as_deref() == Some(machine));
        for record in held {
            record.volume.attached_machine_id = None;
            if let Err(error) = self.disk.save_volume(record) {
                tracing::error!(%error, volume.id = record.volume.id, "a volume is not stored");
            }
        }
    }

    /// Deletes a volume that no machine holds. It is shown as leaving for a while.
    pub(crate) async fn delete_volume(
        self: &Arc<Self>,
        app: &str,
        id: &str,
    ) -> Result<Volume, Refused> {
        let record = {
            let mut world = self.world();
            let record = world.volume(app, id)?;
            if let Some(machine) = &record.volume.attached_machine_id {
                return Err(Refused::volume_bound(machine));
            }
            if record.volume.state.is_leaving() {
                return Ok(record.volume.clone());
            }
            record.volume.state = VolumeState::PendingDestroy;
            record.clone()
        };
        self.erase(&record)
            .await
            .map_err(|error| Refused::internal(&error))?;
        let (host, id) = (Arc::clone(self), id.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(host.config.tombstone).await;
            host.world().volumes.remove(&id);
        });
        Ok(record.volume)
    }

    async fn erase(self: &Arc<Self>, record: &VolumeRecord) -> std::io::Result<()> {
        let (host, record) = (Arc::clone(self), record.clone());
        let erase = move || {
            let directory = host.disk.volume_dir(&record.volume.id);
            scrub(&host.uids, &directory, record.slot.unwrap_or_default())?;
            host.disk.forget(Table::Volumes, &record.volume.id)
        };
        tokio::task::spawn_blocking(erase)
            .await
            .map_err(std::io::Error::other)?
    }

    /// Begins deleting an app with all that is in it.
    pub(crate) fn delete_app(self: &Arc<Self>, name: &str, force: bool) -> Result<(), Refused> {
        let mut world = self.world();
        world.app(name)?;
        if !force
            && world
                .machines_of(name)
                .any(|cell| cell.record.state.is_active())
        {
            return Err(Refused::app_in_use());
        }
        if let Some(app) = world.apps.get_mut(name) {
            app.deleting = true;
            self.disk
                .save_app(app)
                .map_err(|error| Refused::internal(&error))?;
        }
        tokio::spawn(Arc::clone(self).cascade(name.to_owned()));
        Ok(())
    }

    /// Removes an app's machines, then its volumes, then the app.
    pub(crate) async fn cascade(self: Arc<Self>, name: String) {
        let machines: Vec<String> = {
            let world = self.world();
            world
                .machines_of(&name)
                .map(|cell| cell.record.id.clone())
                .collect()
        };
        for id in &machines {
            // One that is gone meanwhile is what is wanted.
            let _ = self.destroy(&name, id, true, Duration::ZERO);
        }
        for id in &machines {
            self.until_destroyed(id).await;
        }
        // Out of sight first: what releases them from their machines would store them again.
        let volumes: Vec<VolumeRecord> = {
            let mut world = self.world();
            let of_app = |_: &String, record: &mut VolumeRecord| record.app == name;
            let taken = world.volumes.extract_if(.., of_app);
            taken.map(|(_, record)| record).collect()
        };
        for record in &volumes {
            if let Err(error) = self.erase(record).await {
                tracing::error!(%error, volume.id = record.volume.id, "some of a volume is left");
            }
        }
        let mut world = self.world();
        world.apps.remove(&name);
        world.machines.retain(|_, cell| cell.record.app != name);
        if let Err(error) = self.disk.forget(Table::Apps, &name) {
            tracing::error!(%error, app = name, "an app's record is left");
        }
    }

    async fn until_destroyed(&self, id: &str) {
        loop {
            let changed = {
                let world = self.world();
                match world.machines.get(id) {
                    Some(cell) if cell.exists() => Arc::clone(&cell.changed),
                    _ => return,
                }
            };
            // A change between the look and the wait is caught by looking again soon.
            let short = std::time::Duration::from_millis(100);
            let _ = tokio::time::timeout(short, changed.notified()).await;
        }
    }

    /// Loses a machine and its volume with the host they were on: nobody is told, and it is simply
    /// not there any more.
    pub(crate) async fn lose(self: &Arc<Self>, id: &str) {
        let (live, volumes) = {
            let mut world = self.world();
            let Some(cell) = world.machines.remove(id) else {
                return;
            };
            cell.changed.notify_waiters();
            let held =
                |record: &&VolumeRecord| record.volume.attached_machine_id.as_deref() == Some(id);
            let volumes: Vec<VolumeRecord> = world.volumes.values().filter(held).cloned().collect();
            for record in &volumes {
                world.volumes.remove(&record.volume.id);
            }
            (cell.live, volumes)
        };
        if let Some(live) = live {
            live.init.kill();
            live.init.ended().await;
        }
        for record in &volumes {
            let _ = self.erase(record).await;
        }
        let _ = remove_tree(&self.disk.machine_dir(id));
        let _ = self.disk.forget(Table::Machines, id);
    }
}
