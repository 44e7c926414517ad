//! From a process of the machine's to the sandbox's program: its group, its root, its rights, its name.

use std::{fs, io, os::unix::process::CommandExt, process::Command};

use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_move},
    process::{chdir, chroot, setsid},
    thread::{
        CapabilitySet, UnshareFlags, remove_capability_from_bounding_set, set_no_new_privs,
        set_thread_groups,
    },
};

use super::{BRIEF, Failed, mounts::GROUP, root, root::ROOT, step};
use crate::wire::Brief;

/// What root inside may do: become other users and look after their files. It may not mount, trace, load
/// modules, set the clock or touch the network's set-up.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID);

/// Does not come back unless something fails.
pub(super) fn become_program() -> Failed {
    match prepared() {
        Ok(mut command) => {
            let name = command.get_program().to_string_lossy().into_owned();
            step(format!("starting {name}"))(command.exec())
        }
        Err(failed) => failed,
    }
}

fn prepared() -> Result<Command, Failed> {
    let brief = fs::read(BRIEF).map_err(step("reading the brief"))?;
    let brief: Brief = serde_json::from_slice(&brief).map_err(step("reading the brief"))?;
    let (program, arguments) = brief.program.split_first().ok_or_else(|| {
        step::<io::Error>("there is no program")(io::ErrorKind::InvalidInput.into())
    })?;
    fs::write(GROUP, "0").map_err(step("joining the group"))?;
    apart().map_err(step("leaving the machine's name spaces"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let groups = root::inside("sys/fs/cgroup");
    mount("cgroup2", groups, "cgroup2", flags, None).map_err(step("mounting the group"))?;
    root::close()?;
    enter().map_err(step("entering the root"))?;
    setsid().map_err(step("leaving the session"))?;
    give_up().map_err(step("giving up rights"))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&brief.environment);
    Ok(command)
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for descriptors that others share; this process has one thread"
)]
fn apart() -> io::Result<()> {
    rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWCGROUP)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change("/", private)?)
}

fn enter() -> io::Result<()> {
    chdir(ROOT)?;
    mount_move(".", "/")?;
    chroot(".")?;
    Ok(chdir("/")?)
}

fn give_up() -> io::Result<()> {
    for capability in CapabilitySet::all().difference(CAPABILITIES).iter() {
        match remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know cannot be had either.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    set_thread_groups(&[])?;
    Ok(set_no_new_privs(true)?)
}
