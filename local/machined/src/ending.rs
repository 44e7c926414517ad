//! What ends a machine, and what follows from its end.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use nightshift_machines::{EventRequest, ExitEvent};
use tokio::{process::Child, task::JoinHandle};

use crate::{
    cgroups::Group,
    clock,
    host::Host,
    logs,
    qemu::Guest,
    restart::restarts,
    sandbox::Init,
    state::State,
    volumes::{Backing, taken},
    world::MachineCell,
};

/// Pause before a machine restarts by itself.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// The exit code of what was killed.
const KILLED: i32 = 137;
/// How often a volume that is no file system of its own is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// What follows from a machine's end.
pub(crate) enum AfterExit {
    Rest,
    Restart(String),
    Destroy,
}

impl Host {
    /// Waits for the sandbox's end and draws the consequences.
    pub(crate) async fn watch(
        self: Arc<Self>,
        id: String,
        mut child: Child,
        init: Arc<Init>,
        group: Option<Group>,
        guest: Option<Arc<Guest>>,
        mut printed: JoinHandle<()>,
    ) {
        if let Some(guest) = &guest {
            // What it said last, it said before its end; the rest of it ends with us, at once.
            guest.over().await;
            init.kill();
        }
        let status = child.wait().await;
        init.kill();
        init.ended().await;
        // Before it may start again: the next life's group has the same name.
        let given_up = tokio::task::spawn_blocking(move || {
            group.is_some_and(|group| group.ran_out_of_memory())
        });
        let oom_killed = given_up.await.unwrap_or_default();
        let exit = match &guest {
            None => status.ok().and_then(|status| status.code()),
            Some(guest) => guest.exit().map(|exit| exit.code),
        };
        let exit_code = exit.unwrap_or(KILLED);
        let inside = guest.as_ref().and_then(|guest| guest.exit());
        let oom_killed = oom_killed || inside.is_some_and(|exit| exit.out_of_memory);
        let suspended = guest.is_some_and(|guest| guest.is_suspended());
        if !suspended && exit_code != 0 && self.nobody_asked(&id) {
            let how = format!("a machine ended by itself, with exit code {exit_code}");
            let directory = self.disk.machine_dir(&id);
            logs::tell_end(&id, &directory, &how, &mut printed).await;
        }
        let next = {
            let mut world = self.world();
            let Some(cell) = world.machines.get_mut(&id) else {
                return;
            };
            if suspended && cell.record.state == State::Suspending {
                self.note_suspended(cell)
            } else {
                self.note_exit(cell, exit_code, oom_killed)
            }
        };
        match next {
            AfterExit::Rest => {}
            AfterExit::Destroy => self.finish_destroy(id).await,
            AfterExit::Restart(app) => {
                tokio::time::sleep(self.config.settle.max(RESTART_PAUSE)).await;
                self.restart(app, id).await;
            }
        }
    }

    /// Ends a machine whose volume has outgrown its size, where nothing else keeps it from that.
    pub(crate) async fn watch_volume(self: Arc<Self>, id: String, init: Arc<Init>) {
        let backing = Backing::of(&self.disk, &id);
        let size = {
            let world = self.world();
            world.volumes.get(&id).map(|record| record.volume.size_gb)
        };
        let Some(size) = size.filter(|_| backing.image.is_none()) else {
            return;
        };
        loop {
            let files = backing.files.clone();
            let measured = tokio::task::spawn_blocking(move || taken(&files)).await;
            let taken = measured.unwrap_or_default();
            if taken > size << 30 {
                tracing::warn!(
                    volume.id = id,
                    taken,
                    size,
                    "a volume is full, ending its machine"
                );
                return init.kill();
            }
            if tokio::time::timeout(MEASURE_EVERY, init.ended())
                .await
                .is_ok()
            {
                return;
            }
        }
    }

    /// Whether a machine that ends now does so without having been told to.
    fn nobody_asked(&self, id: &str) -> bool {
        let world = self.world();
        let running = world.machines.get(id).is_some_and(|cell| {
            let leaving = matches!(cell.record.state, State::Stopping | State::Destroying);
            !cell.stop_asked && !leaving
        });
        running && !self.is_closing()
    }

    /// Boxed, because a restart leads to a watch, which may lead to a restart.
    fn restart(
        self: Arc<Self>,
        app: String,
        id: String,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if let Err(error) = self.start(&app, &id, "flyd").await {
                tracing::warn!(?error, machine.id = id, "a machine did not restart");
            }
        })
    }

    fn note_exit(&self, cell: &mut MachineCell, exit_code: i32, oom_killed: bool) -> AfterExit {
        cell.live = None;
        cell.active_until = Some(Instant::now() + self.config.settle);
        let destroying = cell.record.state == State::Destroying;
        let restarting = !destroying
            && !cell.stop_asked
            && !self.is_closing()
            && restarts(cell, exit_code, Instant::now());
        let exit = ExitEvent {
            exit_code,
            guest_exit_code: exit_code,
            oom_killed,
            requested_stop: cell.stop_asked,
            restarting,
            signal: if exit_code > 128 { exit_code - 128 } else { 0 },
            exited_at: Some(clock::now()),
        };
        let destroy =
            destroying || (cell.record.config.auto_destroy && !restarting && !self.is_closing());
        let state = if destroy {
            State::Destroying
        } else {
            State::Stopped
        };
        let request = EventRequest {
            exit_event: Some(exit),
        };
        cell.record
            .become_state(state, "exit", "flyd", Some(request));
        self.keep(&cell.record);
        cell.changed.notify_waiters();
        if destroy {
            AfterExit::Destroy
        } else if restarting {
            AfterExit::Restart(cell.record.app.clone())
        } else {
            AfterExit::Rest
        }
    }
}
