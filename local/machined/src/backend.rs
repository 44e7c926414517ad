//! What machines are on this host: sandboxes of bubblewrap, or virtual machines of QEMU.

use std::{fs, io, sync::Arc};

use clap::ValueEnum;

use crate::{
    config::Config,
    disk::Disk,
    host::Host,
    images::{Base, Image, ImageError},
    qemu::{self, Qemu, QemuError},
    record::MachineRecord,
    sandbox::{self, BootError, Booted},
};

/// What a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum BackendName {
    /// Processes with name spaces of their own.
    #[default]
    Bubblewrap,
    /// A virtual machine with a kernel of its own.
    Qemu,
}

/// What a machine is, with what it takes to make one.
#[derive(Debug)]
pub(crate) enum Backend {
    Bubblewrap,
    Qemu(Qemu),
}

/// Machines cannot be what they are to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackendError {
    #[error("the state directory belongs to machines of {0}; use another, or delete it")]
    AnotherBackend(String),
    #[error("the state directory cannot say whose it is")]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Qemu(#[from] QemuError),
}

impl BackendName {
    /// How it is spelt.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Bubblewrap => "bubblewrap",
            Self::Qemu => "qemu",
        }
    }
}

impl Backend {
    /// Finds out what it takes. A state directory is one backend's for ever: the other would find volumes
    /// whose files belong to nobody it knows.
    pub(crate) fn open(config: &Config, disk: &Disk) -> Result<Self, BackendError> {
        let place = disk.backend();
        let before = match fs::read_to_string(&place) {
            Ok(before) => before,
            Err(error) if error.kind() == io::ErrorKind::NotFound && disk.is_new()? => {
                config.backend.word().to_owned()
            }
            // From before there was a choice.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                BackendName::Bubblewrap.word().to_owned()
            }
            Err(error) => return Err(error.into()),
        };
        if before != config.backend.word() {
            return Err(BackendError::AnotherBackend(before));
        }
        let backend = match config.backend {
            BackendName::Bubblewrap => Self::Bubblewrap,
            BackendName::Qemu => Self::Qemu(Qemu::open(config, disk)?),
        };
        fs::write(&place, &before)?;
        Ok(backend)
    }

    /// How it is called.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Bubblewrap => BackendName::Bubblewrap.word(),
            Self::Qemu(_) => BackendName::Qemu.word(),
        }
    }

    /// Who executes the instructions of its virtual machines, if they are such.
    pub(crate) const fn accelerator(&self) -> Option<&'static str> {
        match self {
            Self::Bubblewrap => None,
            Self::Qemu(qemu) => Some(qemu.accelerator_name()),
        }
    }

    /// Refuses an image that its machines could not boot.
    pub(crate) fn check(&self, image: &Image) -> Result<(), ImageError> {
        match self {
            Self::Qemu(_) if image.manifest.base == Base::HostUsr => Err(ImageError::Broken(
                format!("{}@{}", image.repository, image.digest),
                "it stands on the host's /usr, which a virtual machine has not".to_owned(),
            )),
            Self::Qemu(_) | Self::Bubblewrap => Ok(()),
        }
    }

    /// Makes of an unpacked image what machines boot from. Blocks, for seconds.
    pub(crate) fn prepare(&self, image: &Image) -> Result<(), BootError> {
        match self {
            Self::Bubblewrap => Ok(()),
            Self::Qemu(qemu) => qemu
                .root_disk(image)
                .map(drop)
                .map_err(|error| BootError::Step("making its disk", error)),
        }
    }
}

/// Boots a machine, and returns once it runs. `frozen` says that it was suspended.
pub(crate) async fn boot(
    host: &Arc<Host>,
    machine: &MachineRecord,
    frozen: bool,
) -> Result<Booted, BootError> {
    match &host.backend {
        Backend::Bubblewrap => sandbox::boot(host, machine).await,
        Backend::Qemu(qemu) => qemu::boot(host, qemu, machine, frozen).await,
    }
}
