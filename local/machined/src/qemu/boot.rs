//! Booting a virtual machine: its disks and channel first, then QEMU, then what it is to run.

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use nightshift_guest::wire::{Brief, Frame};
use nightshift_machines::Guest as Size;
use tokio::net::unix::pipe;

use super::{
    Qemu,
    channel::{self, Guest},
    command::{self, Virtual},
    hull,
    qmp::Monitor,
    suspend,
};
use crate::{
    cgroups::PROCESSES,
    host::Host,
    images::Image,
    logs,
    record::MachineRecord,
    sandbox::{BootError, Booted, Inside, Live, enclose, guest_of, platform_env, unpacked},
    volumes::Backing,
};

/// Memory that QEMU takes beside its guest's, most of it for translated code, in MiB.
const OVERHEAD_MIB: u32 = 256;
/// How long a machine may take from its first instruction to its program.
const BOOT_PATIENCE: Duration = Duration::from_mins(1);
/// Where programs are looked for unless the image or the machine says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Boots a machine, or lets one that was suspended go on; where that cannot be it boots as any other.
pub(crate) async fn boot(
    host: &Arc<Host>,
    qemu: &Qemu,
    machine: &MachineRecord,
    frozen: bool,
) -> Result<Booted, BootError> {
    let directory = host.disk.machine_dir(&machine.id);
    let step = |what: &'static str| move |error: io::Error| BootError::Step(what, error);
    if frozen {
        let gone_on = launch(host, qemu, machine, true).await;
        // A second life from the same memory would draw the same random numbers.
        suspend::forget(&directory).map_err(step("giving up what was suspended"))?;
        match gone_on {
            Ok(booted) => return Ok(booted),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, machine.id = machine.id, "boots anew instead of going on");
            }
        }
    }
    launch(host, qemu, machine, false).await
}

async fn launch(
    host: &Arc<Host>,
    qemu: &Qemu,
    machine: &MachineRecord,
    frozen: bool,
) -> Result<Booted, BootError> {
    let step = |what: &'static str| move |error: io::Error| BootError::Step(what, error);
    let image = unpacked(host, &machine.config.image).await?;
    let directory = host.disk.machine_dir(&machine.id);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(step("preparing its directory"))?;
    // One that goes on takes no time to speak of, and holds up nobody. The turns are never closed.
    let turn = if frozen {
        None
    } else {
        qemu.boots.acquire().await.ok()
    };
    let size = guest_of(machine);
    let (ours, channel) = suspend::pair().map_err(step("opening its channel"))?;
    let (monitor, monitored) = suspend::pair().map_err(step("opening its monitor"))?;
    let backing = machine.volume().map(|id| Backing::of(&host.disk, id));
    let mut descriptors =
        descriptors(qemu, &image, backing.as_ref()).map_err(step("opening its disks"))?;
    descriptors.push((command::CHANNEL_FD, channel));
    descriptors.push((command::MONITOR_FD, monitored));
    if frozen {
        let memory = File::open(suspend::place(&directory)).map_err(step("opening its memory"))?;
        descriptors.push((command::SNAPSHOT_FD, memory.into()));
    }
    let virtual_machine = Virtual {
        memory_mib: size.memory_mb,
        cpus: size.cpus.max(1),
        has_volume: backing.is_some(),
        frozen,
    };
    let group = host
        .cgroups
        .make(
            &machine.id,
            &with_overhead(&size),
            host.uids.root_of(machine.slot),
        )
        .map_err(step("making its control group"))?;
    let enclosed = enclose(
        host,
        machine,
        Inside {
            arguments: hull::arguments(qemu, host.uids.maps_from_outside()),
            program: &virtual_machine.words(qemu),
            descriptors,
            volume: None,
            group: group.as_ref(),
        },
    )
    .await?;
    let output = pipe::Sender::from_owned_fd(enclosed.output).map_err(step("reading from it"))?;
    let guest = Guest::attach(host, &machine.id, ours, output);
    let mut printed = enclosed.printed;
    let init = Arc::new(enclosed.first.with_guest(Arc::clone(&guest)));
    let live = Live::of_guest(Arc::clone(&init));
    let began = begin(host, machine, &image, &guest, monitor, frozen);
    let monitor = match tokio::time::timeout(BOOT_PATIENCE, began).await {
        Ok(Ok(monitor)) => monitor,
        failed => {
            init.kill();
            init.ended().await;
            // Until then it has the pipe to the log open.
            guest.over().await;
            let how = "a virtual machine did not get to its program";
            logs::tell_end(&machine.id, &directory, how, &mut printed).await;
            let error = match failed {
                Ok(Err(error)) => error,
                _ => io::ErrorKind::TimedOut.into(),
            };
            return Err(BootError::Step("waiting for its program", error));
        }
    };
    drop(turn);
    guest.keep_monitor(monitor).await;
    Ok(Booted {
        child: enclosed.child,
        live,
        group,
        guest: Some(guest),
        printed,
    })
}

/// Sees a machine from QEMU's first word to the program's start.
async fn begin(
    host: &Host,
    machine: &MachineRecord,
    image: &Image,
    guest: &Guest,
    monitor: tokio::net::UnixStream,
    frozen: bool,
) -> io::Result<Monitor> {
    let mut monitor = Monitor::greet(monitor).await?;
    if frozen {
        suspend::go_on(&mut monitor).await?;
        guest.tell(Frame::Wake(channel::now()));
        return Ok(monitor);
    }
    guest.tell(Frame::Begin(Box::new(brief(host, machine, image))));
    if guest.started().await {
        return Ok(monitor);
    }
    Err(io::Error::other(
        "the machine ended before; its log says why",
    ))
}

fn brief(host: &Host, machine: &MachineRecord, image: &Image) -> Brief {
    let exec = machine
        .config
        .init
        .as_ref()
        .and_then(|init| init.exec.as_ref());
    let mut environment = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    for layer in [
        &image.manifest.env,
        &machine.config.env,
        &platform_env(host, machine),
    ] {
        environment.extend(layer.clone());
    }
    Brief {
        hostname: machine.id.clone(),
        program: exec.unwrap_or(&image.manifest.entrypoint).clone(),
        environment,
        volume: machine
            .config
            .mounts
            .first()
            .map(|mount| mount.path.clone()),
        memory_mib: guest_of(machine).memory_mb,
        processes: PROCESSES,
        now: channel::now(),
    }
}

/// What QEMU is given instead of paths: it may open nothing itself.
fn descriptors(
    qemu: &Qemu,
    image: &Image,
    volume: Option<&Backing>,
) -> io::Result<Vec<(i32, OwnedFd)>> {
    let read = |path: &Path| File::open(path).map(OwnedFd::from);
    let mut descriptors = vec![
        (command::KERNEL_FD, read(&qemu.kernel)?),
        (command::INITRAMFS_FD, read(&qemu.initramfs)?),
        (command::IMAGE_FD, read(&qemu.root_disk(image)?)?),
    ];
    if let Some(volume) = volume {
        let disk = volume
            .image
            .as_ref()
            .ok_or_else(|| io::Error::other("the volume is not a disk"))?;
        let disk = OpenOptions::new().read(true).write(true).open(disk)?;
        descriptors.push((command::VOLUME_FD, disk.into()));
    }
    Ok(descriptors)
}

fn with_overhead(size: &Size) -> Size {
    Size {
        memory_mb: size.memory_mb + OVERHEAD_MIB,
        ..size.clone()
    }
}
