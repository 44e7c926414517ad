//! Starting bubblewrap around a program, and seeing it through until its users are mapped.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    process::{Command, Stdio},
    sync::Arc,
};

use command_fds::{CommandFdExt, FdMapping};
use rustix::{
    fs::{MemfdFlags, SeekFrom, memfd_create, seek},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::Deserialize;
use tokio::{io::AsyncReadExt, net::unix::pipe, process::Child, task::JoinHandle};

use super::{
    boot::BootError,
    bwrap,
    launch::{self, Launch},
    live::Init,
};
use crate::{cgroups::Group, host::Host, logs, record::MachineRecord, volumes::Backing};

/// Where bubblewrap finds its arguments; kept out of `/proc/1/cmdline`, which the sandbox sees.
const ARGS_FD: i32 = 3;
/// Where bubblewrap says which process it made.
const INFO_FD: i32 = 4;
/// Where bubblewrap waits for us, unless it does so on its standard input.
pub(crate) const GO_FD: i32 = 5;

/// What bubblewrap is to make, and what runs in it.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    /// bubblewrap's arguments, up to the program.
    pub(crate) arguments: Vec<OsString>,
    /// The program and its arguments.
    pub(crate) program: &'a [String],
    /// What the program finds open, by number: above [`GO_FD`].
    pub(crate) descriptors: Vec<(i32, OwnedFd)>,
    /// The volume to mount beforehand.
    pub(crate) volume: Option<&'a Backing>,
    /// The group that all of it is in.
    pub(crate) group: Option<&'a Group>,
}

/// A program that has just been started so.
#[derive(Debug)]
pub(crate) struct Enclosed {
    /// bubblewrap, outside.
    pub(crate) child: Child,
    /// The first process inside.
    pub(crate) first: Init,
    /// Where what it prints goes; it may be written to.
    pub(crate) output: OwnedFd,
    /// What writes that down, until nobody prints any more.
    pub(crate) printed: JoinHandle<()>,
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "child-pid")]
    child_pid: i32,
}

/// Refuses where a program is missing that it takes.
pub(super) fn installed() -> Result<&'static str, BootError> {
    let bwrap = bwrap().ok_or(BootError::NotInstalled("bwrap"))?;
    match launch::missing() {
        Some(program) => Err(BootError::NotInstalled(program)),
        None => Ok(bwrap),
    }
}

/// Starts a machine's program, and returns once its process exists. What it prints goes to its log.
pub(crate) async fn enclose(
    host: &Arc<Host>,
    machine: &MachineRecord,
    inside: Inside<'_>,
) -> Result<Enclosed, BootError> {
    let step = |what: &'static str| move |error: io::Error| BootError::Step(what, error);
    let bwrap = installed()?;
    let pipes = Pipes::open(&inside.arguments).map_err(step("opening its pipes"))?;
    let output = pipes.output.1.try_clone();
    let output = output.map_err(step("opening its pipes"))?;
    let launch = Launch {
        bwrap,
        root: host.uids.root_of(machine.slot),
        own_users: host.uids.maps_from_outside(),
        ttl: host.config.ttl,
        volume: inside.volume,
    };
    let mut command = launch.command();
    command
        .args(["--args", &ARGS_FD.to_string()])
        .args(["--info-fd", &INFO_FD.to_string()])
        // In sight, so that what is left of this machine can be known by its name.
        .args(["--hostname", &machine.id, "--"])
        .args(inside.program)
        .current_dir("/");
    let ends = pipes
        .connect(
            &mut command,
            host.uids.maps_from_outside(),
            inside.descriptors,
        )
        .map_err(step("handing over its pipes"))?;
    let child = host
        .spawner
        .spawn(command)
        .await
        .map_err(step("starting bubblewrap"))?;

    let receiver = |fd| pipe::Receiver::from_owned_fd(fd).map_err(step("reading from it"));
    let directory = host.disk.machine_dir(&machine.id);
    let mut printed = tokio::spawn(logs::keep(receiver(ends.output)?, directory.clone()));
    let info = told(receiver(ends.info)?)
        .await
        .map_err(step("reading from it"))?;
    let Ok(info) = serde_json::from_slice::<Info>(&info) else {
        // Only what it said tells why, and our own end of the pipe would keep that from being all.
        drop(output);
        let how = "bubblewrap made no sandbox";
        logs::tell_end(&machine.id, &directory, how, &mut printed).await;
        return Err(BootError::Stillborn);
    };
    let pid = Pid::from_raw(info.child_pid).ok_or(BootError::Stillborn)?;
    let fd = pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(|_| BootError::Stillborn)?;
    let first = Init::watch(pid, fd).map_err(step("watching it"))?;

    let set = admit(host, machine, inside.group, info.child_pid.unsigned_abs());
    if let Err(error) = set {
        first.kill();
        first.ended().await;
        return Err(error);
    }
    let mut go = fs::File::from(ends.go);
    // One that is dead already is noticed by its exit.
    let _ = go.write_all(b"\n");
    Ok(Enclosed {
        child,
        first,
        output,
        printed,
    })
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
    fn connect(
        self,
        command: &mut Command,
        waits_on_input: bool,
        more: Vec<(i32, OwnedFd)>,
    ) -> io::Result<Ends> {
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
        mappings.extend(more.into_iter().map(|(child_fd, parent_fd)| FdMapping {
            parent_fd,
            child_fd,
        }));
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

    fn open(arguments: &[OsString]) -> io::Result<Self> {
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
