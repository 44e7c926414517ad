//! The one host there is: its configuration, its disk, and everything on it.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use nightshift_machines::{EventRequest, ExitEvent, VolumeState};
use tokio::runtime::Handle;

use crate::{
    backend::{Backend, BackendError},
    cgroups::Cgroups,
    clock,
    config::Config,
    disk::{Disk, Table},
    faults::Faults,
    gateway::Gateway,
    identity::{Identity, IdentityError},
    images::Images,
    leftovers,
    limits::Limits,
    record::{AppRecord, MachineRecord, VolumeRecord},
    sandbox::{Spawner, UidPolicy},
    state::State,
    volumes::{VolumePolicy, until_free},
    world::{MachineCell, World},
};

/// The host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) config: Config,
    pub(crate) disk: Disk,
    pub(crate) backend: Backend,
    pub(crate) images: Images,
    pub(crate) uids: UidPolicy,
    pub(crate) cgroups: Cgroups,
    pub(crate) volumes: VolumePolicy,
    pub(crate) limits: Limits,
    pub(crate) faults: Faults,
    pub(crate) identity: Identity,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) spawner: Spawner,
    world: Mutex<World>,
    closing: AtomicBool,
}

/// The host cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the state directory cannot be used")]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl Host {
    /// Opens the state directory as after a reboot: what ran is stopped, what was half done is
    /// done again.
    pub(crate) fn open(config: Config) -> Result<Arc<Self>, OpenError> {
        let disk = Disk::open(&config.state)?;
        let identity = Identity::open(&disk.identity_key(), &config.issuer)?;
        // Whatever a sandbox leaves behind becomes our child, and is reaped.
        let _ = rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1));
        let world = load(&disk)?;
        // After what an earlier life left has ended, which stood in its groups.
        let cgroups = Cgroups::open(&config.state, disk.cgroups());
        let backend = Backend::open(&config, &disk)?;
        let volumes = match &backend {
            Backend::Bubblewrap => VolumePolicy::detect(&disk.scratch()),
            // The guest mounts them.
            Backend::Qemu(_) => VolumePolicy::FileSystem,
        };
        if volumes == VolumePolicy::FileSystem {
            until_free(&config.state)?;
        }
        let images = Images::open(&config.images, &disk.images_dir())?;
        let used = world.machines.values();
        let used = used.map(|cell| cell.record.image.digest.clone()).collect();
        images.forget_all_but(&used)?;
        if let Backend::Qemu(qemu) = &backend {
            qemu.forget_all_but(&used)?;
        }
        let host = Arc::new(Self {
            gateway: Arc::new(Gateway::new(&config.egress)),
            disk,
            backend,
            images,
            uids: UidPolicy::detect(),
            cgroups,
            volumes,
            limits: Limits::default(),
            faults: Faults::default(),
            identity,
            spawner: Spawner::start(Handle::current())?,
            world: Mutex::new(world),
            closing: AtomicBool::new(false),
            config,
        });
        host.resume();
        Ok(host)
    }

    /// What exists. Hold it briefly, and never across an await.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many users a machine has: of its own kernel, all.
    pub(crate) const fn uid_map(&self) -> &'static str {
        match self.backend {
            Backend::Bubblewrap => self.uids.name(),
            Backend::Qemu(_) => UidPolicy::Range.name(),
        }
    }

    /// The host user that owns the root of a machine's volume; a virtual machine numbers its own.
    pub(crate) fn volume_owner(&self, slot: u32) -> u32 {
        match self.backend {
            Backend::Bubblewrap => self.uids.root_of(slot).unwrap_or_default(),
            Backend::Qemu(_) => 0,
        }
    }

    /// Whether the host goes down: nothing starts or is destroyed by itself any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Marks the host as going down.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Stores a machine where nobody can be told of a failure.
    pub(crate) fn keep(&self, record: &MachineRecord) {
        if let Err(error) = self.disk.save_machine(record) {
            tracing::error!(%error, machine.id = record.id, "a machine's record is not stored");
        }
    }

    fn resume(self: &Arc<Self>) {
        let (mut preparing, mut destroying) = (Vec::new(), Vec::new());
        for cell in self.world().machines.values() {
            match cell.record.state {
                State::Created => preparing.push(cell.record.id.clone()),
                State::Destroying => destroying.push(cell.record.id.clone()),
                State::Starting
                | State::Started
                | State::Stopping
                | State::Stopped
                | State::Suspending
                | State::Suspended
                | State::Failed
                | State::Destroyed => {}
            }
        }
        let apps: Vec<String> = {
            let world = self.world();
            world
                .apps
                .values()
                .filter(|app| app.deleting)
                .map(|app| app.name.clone())
                .collect()
        };
        for id in preparing {
            tokio::spawn(Arc::clone(self).prepare(id));
        }
        for id in destroying {
            tokio::spawn(Arc::clone(self).finish_destroy(id));
        }
        for app in apps {
            tokio::spawn(Arc::clone(self).cascade(app));
        }
    }
}

/// Reads the records and takes the kill of the previous life into account.
fn load(disk: &Disk) -> io::Result<World> {
    let mut world = World::default();
    for app in disk.load::<AppRecord>(Table::Apps)? {
        world.apps.insert(app.name.clone(), app);
    }
    let machines = disk.load::<MachineRecord>(Table::Machines)?;
    leftovers::kill(&machines);
    for mut record in machines {
        if record.state.is_active() {
            let exit = ExitEvent {
                exit_code: 137,
                signal: 9,
                exited_at: Some(clock::now()),
                ..ExitEvent::default()
            };
            let request = EventRequest {
                exit_event: Some(exit),
            };
            record.become_state(State::Stopped, "exit", "flyd", Some(request));
            disk.save_machine(&record)?;
        }
        world
            .machines
            .insert(record.id.clone(), MachineCell::new(record));
    }
    for mut record in disk.load::<VolumeRecord>(Table::Volumes)? {
        let holder = record.volume.attached_machine_id.as_ref();
        if holder.is_some_and(|holder| !world.machines.contains_key(holder)) {
            record.volume.attached_machine_id = None;
            disk.save_volume(&record)?;
        }
        if record.volume.state == VolumeState::Created {
            world.volumes.insert(record.volume.id.clone(), record);
        }
    }
    Ok(world)
}
