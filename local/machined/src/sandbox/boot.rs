//! Booting a sandbox: sockets first, then bubblewrap, then its users.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, PermissionsExt},
        },
    },
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use command_fds::{CommandFdExt, FdMapping};
use nightshift_machines::Guest;
use rustix::{
    fs::{MemfdFlags, SeekFrom, memfd_create, seek},
    pipe::{PipeFlags, pipe_with},
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
    },
};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, Interest, unix::AsyncFd},
    net::unix::pipe,
    process::Child,
    task::AbortHandle,
};

use super::{
    bwrap,
    launch::{self, Launch},
    layout::Layout,
};
use crate::{
    cgroups::Group,
    gateway,
    host::Host,
    identity,
    images::{Image, ImageError},
    logs,
    record::MachineRecord,
    volumes::{self, Backing},
};

/// Where bubblewrap finds its arguments; kept out of `/proc/1/cmdline`, which the sandbox sees.
const ARGS_FD: i32 = 3;
/// Where bubblewrap says which process it made.
const INFO_FD: i32 = 4;
/// Where bubblewrap waits for us, unless it does so on its standard input.
pub(super) const GO_FD: i32 = 5;
/// Memory of a machine that does not say, in MB: the smallest there is.
const MEMORY_MB: u32 = 256;
/// Processors of a machine that does not say.
const CPUS: u32 = 1;

/// A sandbox that has just booted.
#[derive(Debug)]
pub(crate) struct Booted {
    /// bubblewrap, outside; its end is the sandbox's.
    pub(crate) child: Child,
    /// What to hold while it runs.
    pub(crate) live: Live,
    /// Its control group, to be given up once nothing of it runs. Giving up may block.
    pub(crate) group: Option<Group>,
}

/// A running sandbox. Dropping it closes its sockets.
#[derive(Debug)]
pub(crate) struct Live {
    /// Its first process.
    pub(crate) init: Arc<Init>,
    _sockets: [Listening; 2],
}

/// The first process of a sandbox's process namespace; when it ends, so do all the others.
#[derive(Debug)]
pub(crate) struct Init {
    pid: Pid,
    fd: AsyncFd<OwnedFd>,
}

/// A task that listens, until dropped.
#[derive(Debug)]
struct Listening(AbortHandle);

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

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "child-pid")]
    child_pid: i32,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Init {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for descriptors others may close; this one is ours"
    )]
    fn watch(pid: Pid, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pid,
            fd: AsyncFd::with_interest(fd, Interest::READABLE)?,
        })
    }

    /// Kills everything in the sandbox.
    pub(crate) fn kill(&self) {
        // It fails only if all is over already.
        let _ = pidfd_send_signal(self.fd.get_ref(), Signal::KILL);
    }

    /// Asks the program in it to stop. False if there is none to ask.
    pub(crate) fn ask(&self, signal: Signal) -> bool {
        super::entry::signal(self.pid, signal)
    }

    /// Waits until nothing of the sandbox runs, and reaps it if it became ours.
    pub(crate) async fn ended(&self) {
        let _ = self.fd.readable().await;
        let _ = waitid(
            WaitId::PidFd(self.fd.get_ref().as_fd()),
            WaitIdOptions::EXITED,
        );
    }
}

/// Boots a machine's sandbox, and returns once its process exists.
pub(crate) async fn boot(host: &Arc<Host>, machine: &MachineRecord) -> Result<Booted, BootError> {
    let step = |what: &'static str| move |error: io::Error| BootError::Step(what, error);
    let bwrap = bwrap().ok_or(BootError::NotInstalled("bwrap"))?;
    if let Some(program) = launch::missing() {
        return Err(BootError::NotInstalled(program));
    }
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

    let pipes = Pipes::open(&arguments).map_err(step("opening its pipes"))?;
    let launch = Launch {
        bwrap,
        root,
        own_users: host.uids.maps_from_outside(),
        ttl: host.config.ttl,
        volume: volume.as_ref(),
    };
    let mut command = launch.command();
    command
        .args(["--args", &ARGS_FD.to_string()])
        .args(["--info-fd", &INFO_FD.to_string()])
        // In sight, so that what is left of this machine can be known by its name.
        .args(["--hostname", &machine.id, "--"])
        .args(program)
        .current_dir("/");
    let ends = pipes
        .connect(&mut command, host.uids.maps_from_outside())
        .map_err(step("handing over its pipes"))?;
    let child = host
        .spawner
        .spawn(command)
        .await
        .map_err(step("starting bubblewrap"))?;

    let receiver = |fd| pipe::Receiver::from_owned_fd(fd).map_err(step("reading from it"));
    tokio::spawn(logs::keep(receiver(ends.output)?, directory));
    let info = told(receiver(ends.info)?)
        .await
        .map_err(step("reading from it"))?;
    let info: Info = serde_json::from_slice(&info).map_err(|_| BootError::Stillborn)?;
    let pid = Pid::from_raw(info.child_pid).ok_or(BootError::Stillborn)?;
    let fd = pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(|_| BootError::Stillborn)?;
    let init = Arc::new(Init::watch(pid, fd).map_err(step("watching it"))?);
    let live = Live {
        init,
        _sockets: sockets,
    };

    let set = admit(host, machine, group.as_ref(), info.child_pid.unsigned_abs());
    if let Err(error) = set {
        live.init.kill();
        live.init.ended().await;
        return Err(error);
    }
    let mut go = fs::File::from(ends.go);
    // One that is dead already is noticed by its exit.
    let _ = go.write_all(b"\n");
    Ok(Booted { child, live, group })
}

fn guest_of(machine: &MachineRecord) -> Guest {
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

/// Puts a sandbox that holds still into its group and gives it its users. It has no children, so all that
/// it becomes is in the group from its first moment.
fn admit(
    host: &Host,
    machine: &MachineRecord,
    group: Option<&Group>,
    pid: u32,
) -> Result<(), BootError> {
    let step = |what: &'static str| move |error: io::Error| BootError::Step(what, error);
    group
        .map_or(Ok(()), |group| group.join(pid))
        .map_err(step("joining its control group"))?;
    let mapped = host.uids.map(pid, machine.slot);
    mapped.map_err(step("mapping its users"))
}

/// Reads one JSON object without objects in it. The pipe's end would not come: the program that measures
/// the sandbox's time has it open too.
async fn told(mut info: pipe::Receiver) -> io::Result<Vec<u8>> {
    let mut said = Vec::new();
    while !said.contains(&b'}') && info.read_buf(&mut said).await? > 0 {}
    Ok(said)
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

fn platform_env(host: &Host, machine: &MachineRecord) -> BTreeMap<String, String> {
    [
        ("FLY_APP_NAME", machine.app.as_str()),
        ("FLY_MACHINE_ID", &machine.id),
        ("FLY_MACHINE_VERSION", &machine.version),
        ("FLY_REGION", &machine.region),
        ("NIGHTSHIFT_UIDS", host.uids.name()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Both ends of what runs between us and bubblewrap; the first of a pair is read.
struct Pipes {
    args: OwnedFd,
    go: (OwnedFd, OwnedFd),
    info: (OwnedFd, OwnedFd),
    output: (OwnedFd, OwnedFd),
}

/// Our ends of them.
struct Ends {
    go: OwnedFd,
    info: OwnedFd,
    output: OwnedFd,
}

impl Pipes {
    /// Gives bubblewrap its ends. It waits on standard input, or else on [`GO_FD`].
    fn connect(self, command: &mut Command, waits_on_input: bool) -> io::Result<Ends> {
        command
            .stdout(Stdio::from(self.output.1.try_clone()?))
            .stderr(Stdio::from(self.output.1));
        let mut mappings = vec![
            FdMapping {
                parent_fd: self.args,
                child_fd: ARGS_FD,
            },
            FdMapping {
                parent_fd: self.info.1,
                child_fd: INFO_FD,
            },
        ];
        if waits_on_input {
            // bubblewrap closes this one outside only, so it becomes what a program has anyway.
            command.stdin(Stdio::from(self.go.0));
        } else {
            command.stdin(Stdio::null());
            mappings.push(FdMapping {
                parent_fd: self.go.0,
                child_fd: GO_FD,
            });
        }
        let collision = |_| io::Error::from(io::ErrorKind::InvalidInput);
        command.fd_mappings(mappings).map_err(collision)?;
        Ok(Ends {
            go: self.go.1,
            info: self.info.0,
            output: self.output.0,
        })
    }

    fn open(arguments: &[std::ffi::OsString]) -> io::Result<Self> {
        let mut bytes = Vec::new();
        for argument in arguments {
            bytes.extend_from_slice(argument.as_bytes());
            bytes.push(0);
        }
        let args = memfd_create("bwrap-args", MemfdFlags::CLOEXEC)?;
        let mut file = fs::File::from(args);
        file.write_all(&bytes)?;
        seek(&file, SeekFrom::Start(0))?;
        let open = || pipe_with(PipeFlags::CLOEXEC);
        Ok(Self {
            args: file.into(),
            go: open()?,
            info: open()?,
            output: open()?,
        })
    }
}
