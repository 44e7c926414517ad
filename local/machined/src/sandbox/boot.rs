//! Booting a sandbox: sockets first, then bubblewrap, then its users.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use nightshift_machines::Guest;

use super::{
    layout::Layout,
    live::{Booted, Listening, Live},
    process::{Inside, enclose, installed},
};
use crate::{
    cgroups::Group,
    gateway,
    host::Host,
    identity,
    images::{Image, ImageError},
    record::MachineRecord,
    volumes::{self, Backing},
};

/// Memory of a machine that does not say, in MB: the smallest there is.
const MEMORY_MB: u32 = 256;
/// Processors of a machine that does not say.
const CPUS: u32 = 1;

/// Why a sandbox did not boot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    #[error("{0} is not installed: apt install bubblewrap util-linux coreutils")]
    NotInstalled(&'static str),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("{0}")]
    Step(&'static str, #[source] io::Error),
    #[error("bubblewrap ended before it made a sandbox")]
    Stillborn,
}

/// Boots a machine's sandbox, and returns once its process exists.
pub(crate) async fn boot(host: &Arc<Host>, machine: &MachineRecord) -> Result<Booted, BootError> {
    let step = |what: &'static str| move |error: io::Error| BootError::Step(what, error);
    installed()?;
    let image = unpacked(host, &machine.config.image).await?;
    let directory = host.disk.machine_dir(&machine.id);

    let fly = directory.join("fly");
    prepare(host, machine, &directory, &fly).map_err(step("preparing its directory"))?;
    let sockets = listen(host, machine, &directory, &fly).map_err(step("opening its sockets"))?;

    let guest = guest_of(machine);
    let root = host.uids.root_of(machine.slot);
    let group = host
        .cgroups
        .make(&machine.id, &guest, root)
        .map_err(step("making its control group"))?;
    let mount = machine.config.mounts.first();
    let volume = volume_of(host, machine)
        .await
        .map_err(step("waiting for its volume"))?;
    let layout = Layout {
        image: &image,
        env: &machine.config.env,
        platform_env: &platform_env(host, machine),
        fly: &fly,
        gateway: &directory.join("gateway.sock"),
        volume: volume
            .as_ref()
            .zip(mount)
            .map(|(volume, mount)| (volume.files.as_path(), mount.path.as_str())),
        groups: &group.as_ref().map(Group::views).unwrap_or_default(),
        memory_mb: guest.memory_mb,
        mapped_from_outside: host.uids.maps_from_outside(),
    };
    let arguments = layout.arguments().map_err(step("reading its image"))?;
    let exec = machine
        .config
        .init
        .as_ref()
        .and_then(|init| init.exec.as_ref());
    let program = exec.unwrap_or(&image.manifest.entrypoint);

    let enclosed = enclose(
        host,
        machine,
        Inside {
            arguments,
            program,
            descriptors: vec![],
            volume: volume.as_ref(),
            group: group.as_ref(),
        },
    )
    .await?;
    let init = Arc::new(enclosed.first);
    Ok(Booted {
        child: enclosed.child,
        live: Live::new(init, sockets),
        group,
        guest: None,
        printed: enclosed.printed,
    })
}

/// How large a machine is to be.
pub(crate) fn guest_of(machine: &MachineRecord) -> Guest {
    machine.config.guest.clone().unwrap_or_else(|| Guest {
        cpu_kind: "shared".to_owned(),
        cpus: CPUS,
        memory_mb: MEMORY_MB,
    })
}

/// The machine's volume, once no earlier life of it has it any more.
async fn volume_of(host: &Host, machine: &MachineRecord) -> io::Result<Option<Backing>> {
    let volume = machine
        .volume()
        .map(|volume| Backing::of(&host.disk, volume));
    if let Some(image) = volume.as_ref().and_then(|volume| volume.image.clone()) {
        let free = tokio::task::spawn_blocking(move || volumes::until_free(&image)).await;
        free.map_err(io::Error::other).flatten()?;
    }
    Ok(volume)
}

/// Finds a machine's image and unpacks it, unless that was done when the machine was prepared.
pub(crate) async fn unpacked(host: &Arc<Host>, reference: &str) -> Result<Image, BootError> {
    let image = host.images.find(reference)?;
    if image.is_unpacked() {
        return Ok(image);
    }
    let host = Arc::clone(host);
    let unpacking = tokio::task::spawn_blocking(move || host.images.unpack(&image).map(|()| image));
    let step = |error| BootError::Step("unpacking its image", io::Error::other(error));
    Ok(unpacking.await.map_err(step)??)
}

/// The directory, for root inside only; outside, nobody but it and us can pass.
fn prepare(host: &Host, machine: &MachineRecord, directory: &Path, fly: &Path) -> io::Result<()> {
    for path in [directory, fly] {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        host.uids.give(path, machine.slot)?;
    }
    Ok(())
}

fn listen(
    host: &Arc<Host>,
    machine: &MachineRecord,
    directory: &Path,
    fly: &Path,
) -> io::Result<[Listening; 2]> {
    let api = bind(host, machine, fly, "api", 0o600)?;
    let gateway = bind(host, machine, directory, "gateway.sock", 0o666)?;
    let owner = host.uids.root_of(machine.slot);
    let identity = identity::socket::serve(Arc::clone(host), machine.id.clone(), api, owner);
    let gateway = gateway::serve(Arc::clone(&host.gateway), gateway);
    Ok([
        Listening(tokio::spawn(identity).abort_handle()),
        Listening(tokio::spawn(gateway).abort_handle()),
    ])
}

/// Binds a socket by way of its directory's descriptor: a socket's path may have 107 bytes only.
fn bind(
    host: &Host,
    machine: &MachineRecord,
    directory: &Path,
    name: &str,
    mode: u32,
) -> io::Result<tokio::net::UnixListener> {
    use std::os::fd::AsRawFd;

    let path = directory.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let open = fs::File::open(directory)?;
    let short = format!("/proc/self/fd/{}/{name}", open.as_raw_fd());
    let listener = tokio::net::UnixListener::bind(short)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    host.uids.give(&path, machine.slot)?;
    Ok(listener)
}

/// What the platform says to every program.
pub(crate) fn platform_env(host: &Host, machine: &MachineRecord) -> BTreeMap<String, String> {
    [
        ("FLY_APP_NAME", machine.app.as_str()),
        ("FLY_MACHINE_ID", &machine.id),
        ("FLY_MACHINE_VERSION", &machine.version),
        ("FLY_REGION", &machine.region),
        ("NIGHTSHIFT_UIDS", host.uid_map()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
