//! Machines as virtual machines: a `microvm` of QEMU with two disks and one serial port, and QEMU itself
//! inside a bubblewrap sandbox that has nothing but their descriptors.

mod boot;
mod channel;
mod command;
mod hull;
mod initramfs;
mod kernel;
mod probe;
mod qmp;
mod root_disk;
mod streams;
mod suspend;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use clap::ValueEnum;
use tokio::sync::Semaphore;

use crate::{config::Config, disk::Disk};

pub(crate) use boot::boot;
pub(crate) use channel::Guest;
pub(crate) use suspend::{forget as forget_snapshot, suspend};

/// QEMU is looked for where Debian and others put it; it is started with an empty environment.
const QEMU: [&str; 2] = [
    "/usr/bin/qemu-system-x86_64",
    "/usr/local/bin/qemu-system-x86_64",
];
/// The first process of a machine, beside our own program unless said otherwise.
const GUEST: &str = "nightshift-guest";

/// Who executes a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Accelerator {
    /// The processor, if a guest boots on it within 10 seconds; else QEMU.
    #[default]
    Auto,
    /// The processor.
    Kvm,
    /// QEMU.
    Tcg,
}

/// What it takes to make virtual machines here.
#[derive(Debug)]
pub(crate) struct Qemu {
    program: &'static str,
    kernel: PathBuf,
    initramfs: PathBuf,
    /// Where images' disks are.
    disks: PathBuf,
    making: Mutex<()>,
    accelerator: Accelerator,
    /// Turns to boot. Where QEMU executes the instructions, a boot takes a whole processor, and of many at once
    /// the first takes as long as all of them.
    boots: Semaphore,
}

/// Virtual machines cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QemuError {
    #[error("qemu-system-x86_64 is not installed: apt install qemu-system-x86")]
    NotInstalled,
    #[error("--kernel DIRECTORY is needed, with `vmlinuz` and its modules of virtio in it")]
    NoKernel,
    #[error("{0}: {1}")]
    Unusable(PathBuf, #[source] io::Error),
    #[error("no guest boots on this processor: {0}")]
    NoKvm(String),
}

impl Qemu {
    /// Looks for everything, and finds out which accelerator there is.
    pub(crate) fn open(config: &Config, disk: &Disk) -> Result<Self, QemuError> {
        let program = QEMU.into_iter().find(|path| Path::new(path).exists());
        let program = program.ok_or(QemuError::NotInstalled)?;
        let directory = config.kernel.as_ref().ok_or(QemuError::NoKernel)?;
        let kernel = directory.join("vmlinuz");
        if !kernel.exists() {
            return Err(QemuError::NoKernel);
        }
        let guest = match &config.guest {
            Some(guest) => guest.clone(),
            None => beside_us().map_err(|error| QemuError::Unusable(GUEST.into(), error))?,
        };
        let disks = disk.disks_dir();
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |error| QemuError::Unusable(path, error)
        };
        fs::create_dir_all(&disks).map_err(unusable(&disks))?;
        let initramfs = disks.join("initramfs");
        initramfs::make(&guest, &directory.join("modules"), &initramfs)
            .map_err(unusable(&guest))?;
        let mut qemu = Self {
            program,
            kernel,
            initramfs,
            disks,
            making: Mutex::new(()),
            accelerator: config.accelerator,
            boots: Semaphore::new(0),
        };
        qemu.accelerator = probe::choose(&qemu)?;
        let at_once = boots_at_once(qemu.accelerator, config.boots_at_once);
        qemu.boots.add_permits(at_once);
        tracing::info!(
            accelerator = qemu.accelerator_name(),
            kernel = kernel::version(&qemu.kernel).as_deref(),
            boots_at_once = (at_once < Semaphore::MAX_PERMITS).then_some(at_once),
            "machines are virtual machines"
        );
        Ok(qemu)
    }

    /// As QEMU spells it.
    pub(crate) const fn accelerator_name(&self) -> &'static str {
        match self.accelerator {
            Accelerator::Kvm => "kvm",
            Accelerator::Auto | Accelerator::Tcg => "tcg",
        }
    }
}

fn boots_at_once(accelerator: Accelerator, chosen: Option<u32>) -> usize {
    let chosen = chosen.and_then(|number| usize::try_from(number).ok());
    chosen.unwrap_or_else(|| match accelerator {
        Accelerator::Kvm => Semaphore::MAX_PERMITS,
        Accelerator::Auto | Accelerator::Tcg => {
            std::thread::available_parallelism().map_or(1, usize::from)
        }
    })
}

fn beside_us() -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let guest = this.with_file_name(GUEST);
    if guest.exists() {
        return Ok(guest);
    }
    // A program of the tests is one folder further down.
    let above = this.ancestors().nth(2).map(|folder| folder.join(GUEST));
    above
        .filter(|guest| guest.exists())
        .ok_or_else(|| io::Error::other("it is not beside machined; build it, or say --guest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_boot_at_once_as_was_chosen_or_as_there_are_processors_to_emulate_them() {
        assert_eq!(
            boots_at_once(Accelerator::Kvm, None),
            Semaphore::MAX_PERMITS
        );
        assert_eq!(boots_at_once(Accelerator::Kvm, Some(3)), 3);
        assert_eq!(boots_at_once(Accelerator::Tcg, Some(3)), 3);
        let processors = std::thread::available_parallelism().unwrap().get();
        assert_eq!(boots_at_once(Accelerator::Tcg, None), processors);
    }
}
