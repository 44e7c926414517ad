//! Suspending: a virtual machine's memory is kept, and its next start goes on from there.

use std::sync::Arc;

use crate::{
    backend::Backend, ending::AfterExit, host::Host, qemu, refused::Refused, state::State,
    world::MachineCell,
};

impl Host {
    /// Begins suspending a machine. If that fails it runs on.
    pub(crate) fn suspend(self: &Arc<Self>, app: &str, id: &str) -> Result<(), Refused> {
        if matches!(self.backend, Backend::Bubblewrap) {
            return Err(Refused::not_modelled());
        }
        let mut world = self.world();
        let cell = world.machine(app, id)?;
        match cell.record.state {
            State::Started => {}
            State::Suspending | State::Suspended => return Ok(()),
            State::Destroyed => return Err(Refused::not_found("machine")),
            other @ (State::Created
            | State::Starting
            | State::Stopping
            | State::Stopped
            | State::Failed
            | State::Destroying) => return Err(Refused::cannot_suspend_from(other)),
        }
        let Some(init) = cell.live.as_ref().map(|live| Arc::clone(&live.init)) else {
            return Err(Refused::cannot_suspend_from(cell.record.state));
        };
        cell.record
            .become_state(State::Suspending, "suspend", "user", None);
        self.keep(&cell.record);
        cell.changed.notify_waiters();
        drop(world);
        let (host, id) = (Arc::clone(self), id.to_owned());
        tokio::spawn(async move {
            let Some(guest) = init.guest() else {
                return;
            };
            match qemu::suspend(guest, &host.disk.machine_dir(&id)).await {
                // Its end is noted by who watches it.
                Ok(()) => init.kill(),
                Err(error) => host.runs_on(&id, &error),
            }
        });
        Ok(())
    }

    fn runs_on(&self, id: &str, error: &std::io::Error) {
        tracing::warn!(%error, machine.id = id, "a machine is not suspended, and runs on");
        let mut world = self.world();
        let Some(cell) = world.machines.get_mut(id) else {
            return;
        };
        if cell.record.state == State::Suspending {
            cell.record
                .become_state(State::Started, "suspend", "flyd", None);
            self.keep(&cell.record);
            cell.changed.notify_waiters();
        }
    }

    /// Notes that a machine's memory was kept and nothing of it runs.
    pub(crate) fn note_suspended(&self, cell: &mut MachineCell) -> AfterExit {
        cell.live = None;
        cell.record
            .become_state(State::Suspended, "suspend", "flyd", None);
        self.keep(&cell.record);
        cell.changed.notify_waiters();
        AfterExit::Rest
    }

    /// Stops a machine that is suspended: what was kept of it is given up.
    pub(crate) fn give_up_suspended(&self, cell: &mut MachineCell) -> Result<(), Refused> {
        qemu::forget_snapshot(&self.disk.machine_dir(&cell.record.id))
            .map_err(|error| Refused::internal(&error))?;
        cell.record
            .become_state(State::Stopped, "stop", "user", None);
        self.keep(&cell.record);
        cell.changed.notify_waiters();
        Ok(())
    }
}
