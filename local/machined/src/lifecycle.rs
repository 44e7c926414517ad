//! A machine's life: prepared, started, stopped, exited, started again.
//!
//! ```text
//! created ──prepared──▶ stopped ⇄ starting ─▶ started ─▶ stopping ─▶ stopped
//! created ──its image is broken──▶ failed
//! started ─▶ suspending ─▶ suspended ─▶ starting     (virtual machines only)
//!    any ──delete──▶ destroying ──▶ destroyed
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    backend, clock,
    host::Host,
    record::MachineRecord,
    refused::Refused,
    sandbox::{BootError, Init, unpacked},
    state::State,
};

/// How long a virtual machine may take to end in order once its program is killed.
const ORDERLY_END: Duration = Duration::from_secs(5);

impl Host {
    /// Makes a new machine ready to start, and starts it unless that was declined.
    pub(crate) async fn prepare(self: Arc<Self>, id: String) {
        tokio::time::sleep(self.config.prepare).await;
        let image = self
            .world()
            .machines
            .get(&id)
            .map(|cell| cell.record.config.image.clone());
        let Some(image) = image else {
            return;
        };
        let prepared = self.ready(&id, &image).await;
        let launch = {
            let mut world = self.world();
            let Some(cell) = world.machines.get_mut(&id) else {
                return;
            };
            if cell.record.state != State::Created {
                return;
            }
            match &prepared {
                // It comes to rest, which is no event of its own.
                Ok(()) => {
                    cell.record.state = State::Stopped;
                    cell.record.updated_at = clock::now();
                }
                Err(error) => {
                    tracing::error!(%error, machine.id = id, "a new machine cannot be prepared");
                    cell.record
                        .become_state(State::Failed, "launch", "flyd", None);
                }
            }
            self.keep(&cell.record);
            cell.changed.notify_waiters();
            let launches = prepared.is_ok() && !cell.record.skip_launch;
            launches.then(|| cell.record.app.clone())
        };
        if let Some(app) = launch
            && let Err(error) = self.start(&app, &id, "flyd").await
        {
            tracing::warn!(?error, machine.id = id, "a new machine did not launch");
        }
    }

    /// Unpacks a machine's image and makes its volume's file system, unless they are there.
    async fn ready(self: &Arc<Self>, id: &str, image: &str) -> Result<(), BootError> {
        let image = unpacked(self, image).await?;
        let host = Arc::clone(self);
        let prepared = tokio::task::spawn_blocking(move || host.backend.prepare(&image));
        let broken = |error| BootError::Step("making its disk", std::io::Error::other(error));
        prepared.await.map_err(broken)??;
        let volume = {
            let world = self.world();
            let record = world.machines.get(id).map(|cell| &cell.record);
            let volume = record
                .and_then(|record| record.volume())
                .and_then(|volume| world.volumes.get(volume));
            volume.map(|record| (record.volume.clone(), record.slot.unwrap_or_default()))
        };
        let Some((volume, slot)) = volume else {
            return Ok(());
        };
        let host = Arc::clone(self);
        let format = move || {
            let owner = host.volume_owner(slot);
            let bytes = volume.size_gb << 30;
            host.volumes.format(&host.disk, &volume.id, bytes, owner)
        };
        let formatted = tokio::task::spawn_blocking(format).await;
        formatted
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|error| BootError::Step("making its volume", error))
    }

    /// Starts a machine; returns the state it was in, once its process exists.
    pub(crate) async fn start(
        self: &Arc<Self>,
        app: &str,
        id: &str,
        source: &str,
    ) -> Result<State, Refused> {
        let (previous, record) = {
            let mut world = self.world();
            let cell = world.machine(app, id)?;
            let previous = cell.record.state;
            match previous {
                State::Started | State::Starting => return Ok(previous),
                State::Stopped | State::Suspended | State::Failed => {}
                State::Destroyed => return Err(Refused::not_found("machine")),
                State::Created | State::Stopping | State::Suspending | State::Destroying => {
                    return Err(Refused::cannot_start_from(previous));
                }
            }
            if cell
                .active_until
                .is_some_and(|until| until > Instant::now())
            {
                return Err(Refused::still_active());
            }
            cell.stop_asked = false;
            cell.record
                .become_state(State::Starting, "start", source, None);
            self.keep(&cell.record);
            cell.changed.notify_waiters();
            (previous, cell.record.clone())
        };
        // A caller that hangs up must not leave it half started.
        let host = Arc::clone(self);
        let frozen = previous == State::Suspended;
        let booting = tokio::spawn(async move { host.boot(record, frozen).await });
        booting.await.map_err(|error| Refused::internal(&error))??;
        Ok(previous)
    }

    async fn boot(self: Arc<Self>, record: MachineRecord, frozen: bool) -> Result<(), Refused> {
        let booted = backend::boot(&self, &record, frozen).await;
        let mut world = self.world();
        let Some(cell) = world.machines.get_mut(&record.id) else {
            return Err(Refused::not_found("machine"));
        };
        match booted {
            Ok(booted) => {
                let init = Arc::clone(&booted.live.init);
                cell.live = Some(booted.live);
                if cell.record.state == State::Starting {
                    cell.record
                        .become_state(State::Started, "start", "flyd", None);
                    self.keep(&cell.record);
                } else {
                    // Somebody stopped or deleted it while it booted.
                    init.kill();
                }
                cell.changed.notify_waiters();
                drop(world);
                let volume = record.volume().map(str::to_owned);
                tokio::spawn(Arc::clone(&self).watch(
                    record.id,
                    booted.child,
                    Arc::clone(&init),
                    booted.group,
                    booted.guest,
                    booted.printed,
                ));
                if let Some(volume) = volume {
                    tokio::spawn(self.watch_volume(volume, init));
                }
                Ok(())
            }
            Err(error) => {
                let destroy = cell.record.state == State::Destroying;
                if !destroy {
                    cell.record
                        .become_state(State::Failed, "launch", "flyd", None);
                    self.keep(&cell.record);
                }
                cell.changed.notify_waiters();
                drop(world);
                if destroy {
                    tokio::spawn(self.finish_destroy(record.id));
                }
                if let BootError::Image(error) = error {
                    return Err(error.into());
                }
                let cause: &dyn std::error::Error = &error;
                let source = cause.source().map(ToString::to_string).unwrap_or_default();
                Err(Refused::internal(&format!("{error}: {source}")))
            }
        }
    }

    /// Asks a machine to stop, and kills it if it does not within `timeout`.
    pub(crate) fn stop(
        self: &Arc<Self>,
        app: &str,
        id: &str,
        signal: Signal,
        timeout: Duration,
    ) -> Result<(), Refused> {
        let mut world = self.world();
        let cell = world.machine(app, id)?;
        match cell.record.state {
            State::Started | State::Starting => {}
            State::Destroyed => return Err(Refused::not_found("machine")),
            State::Suspended => return self.give_up_suspended(cell),
            State::Created
            | State::Stopping
            | State::Suspending
            | State::Stopped
            | State::Failed
            | State::Destroying => return Ok(()),
        }
        cell.stop_asked = true;
        cell.record
            .become_state(State::Stopping, "stop", "user", None);
        self.keep(&cell.record);
        cell.changed.notify_waiters();
        // Without one it is still booting, which ends in a kill.
        let Some(live) = &cell.live else {
            return Ok(());
        };
        let init = Arc::clone(&live.init);
        tokio::spawn(async move {
            let ended = |patience| tokio::time::timeout(patience, init.ended());
            // A virtual machine whose program is killed ends in order; killed itself it loses what it has
            // written and not yet brought to its disk.
            if init.ask(signal)
                && ended(timeout).await.is_err()
                && init.guest().is_some()
                && init.ask(Signal::KILL)
            {
                let _ = ended(ORDERLY_END).await;
            }
            init.kill();
        });
        Ok(())
    }

    /// Stops everything, as a host going down does.
    pub(crate) async fn stop_all(&self, patience: Duration) {
        self.close();
        let inits = self.living();
        for init in &inits {
            init.ask(Signal::TERM);
        }
        let all = async {
            for init in &inits {
                init.ended().await;
            }
        };
        let _ = tokio::time::timeout(patience, all).await;
        // Their ends are noted by those who watch them. One that was booting when we closed lives only now.
        loop {
            let inits = self.living();
            if inits.is_empty() {
                return;
            }
            for init in inits {
                init.kill();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn living(&self) -> Vec<Arc<Init>> {
        let world = self.world();
        let live = world
            .machines
            .values()
            .filter_map(|cell| cell.live.as_ref());
        live.map(|live| Arc::clone(&live.init)).collect()
    }
}
