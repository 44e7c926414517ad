//! `supervisor exec-as`: gives up every privilege and becomes another program.
//!
//! A process of its own, started afresh, so the supervisor's memory is already gone when the last
//! privilege goes, and no code has to run between `fork` and `exec`.

use std::{ffi::OsString, io, os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use rustix::{
    io::Errno,
    process::{
        Gid, Pid, Resource, Rlimit, Signal, Uid, getegid, geteuid, getgid, getgroups, getppid,
        getuid, set_parent_process_death_signal, setrlimit, setsid,
    },
    thread::{
        CapabilitySet, CapabilitySets, SecureComputingMode, capabilities,
        capability_is_in_ambient_set, clear_ambient_capability_set, no_new_privs,
        remove_capability_from_bounding_set, secure_computing_mode, set_capabilities,
        set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use crate::{
    cgroups,
    confine::{
        landlock::{LandlockError, Rules},
        seccomp::{self, SeccompError},
    },
    steps::{Step, Steps},
};

/// The exit code when a privilege could not be given up or the program could not be run.
pub const EXIT_CODE: u8 = 126;

/// Memory that a process may keep from being swapped, in bytes.
const LOCKED_BYTES: u64 = 64 * 1024;

/// What to become, and within which bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Become {
    /// The user and group to run as; without one the current ones stay.
    pub id: Option<u32>,
    /// Processes that the user may have.
    pub processes: u64,
    /// Address space that each process may have, in bytes.
    pub address_bytes: u64,
    /// How large a file may become, in bytes.
    pub file_bytes: u64,
    /// The files that stay open to it.
    pub rules: Rules,
    /// Control groups to join.
    pub groups: Vec<PathBuf>,
    /// The process that starts it. Where that has ended already, there is nobody left to end this.
    pub parent: Option<i32>,
    /// Steps to leave out: those that cannot be had here and were accepted.
    pub leave_out: Steps,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// Why it did not become the program.
#[derive(Debug, thiserror::Error)]
pub enum BecomeError {
    /// The command line is not ours.
    #[error(
        "usage: supervisor exec-as [--id N] --processes N --address N --file N [--read PATH]… [--write PATH]… \
         [--group PATH]… [--parent PID] [--leave-out STEPS] -- PROGRAM [ARGUMENT…]"
    )]
    Usage,
    /// A privilege could not be given up.
    #[error("could not {what}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: Errno,
    },
    /// It could not join its control group.
    #[error("could not join a control group")]
    Group(#[source] io::Error),
    /// Its files could not be confined.
    #[error("could not confine its files")]
    Landlock(#[from] LandlockError),
    /// Its system calls could not be confined.
    #[error("could not confine its system calls")]
    Seccomp(#[from] SeccompError),
    /// Whoever started it has ended meanwhile.
    #[error("the supervisor is gone")]
    Orphaned,
    /// The kernel says that something is still there.
    #[error("{0} is still there")]
    Remains(&'static str),
    /// The program could not be run.
    #[error("could not run the program")]
    Exec(#[source] io::Error),
}

impl Become {
    /// The arguments that make [`parse`](Self::parse) read this.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["exec-as".into()];
        let mut say = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        if let Some(id) = self.id {
            say("--id", id.to_string().into());
        }
        say("--processes", self.processes.to_string().into());
        say("--address", self.address_bytes.to_string().into());
        say("--file", self.file_bytes.to_string().into());
        let paths = [
            ("--read", &self.rules.read),
            ("--write", &self.rules.write),
            ("--group", &self.groups),
        ];
        for (name, paths) in paths {
            for path in paths {
                say(name, path.into());
            }
        }
        if let Some(parent) = self.parent {
            say("--parent", parent.to_string().into());
        }
        if self.leave_out != Steps::NONE {
            say("--leave-out", self.leave_out.to_string().into());
        }
        arguments.push("--".into());
        arguments.extend(self.command.iter().cloned());
        arguments
    }

    /// Reads the arguments after `exec-as`.
    ///
    /// # Errors
    /// [`BecomeError::Usage`].
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, BecomeError> {
        let mut arguments = arguments.into_iter();
        let mut become_it = Self::default();
        let mut bounds = [None; 3];
        loop {
            let name = arguments.next().ok_or(BecomeError::Usage)?;
            let name = name.to_str().ok_or(BecomeError::Usage)?;
            if name == "--" {
                break;
            }
            let value = arguments.next().ok_or(BecomeError::Usage)?;
            let text = || value.to_str().ok_or(BecomeError::Usage);
            let number = || text()?.parse::<u64>().map_err(|_| BecomeError::Usage);
            match name {
                "--id" => {
                    become_it.id = Some(u32::try_from(number()?).map_err(|_| BecomeError::Usage)?);
                }
                "--processes" => bounds[0] = Some(number()?),
                "--address" => bounds[1] = Some(number()?),
                "--file" => bounds[2] = Some(number()?),
                "--read" => become_it.rules.read.push(value.into()),
                "--write" => become_it.rules.write.push(value.into()),
                "--group" => become_it.groups.push(value.into()),
                "--parent" => {
                    become_it.parent = Some(text()?.parse().map_err(|_| BecomeError::Usage)?);
                }
                "--leave-out" => {
                    become_it.leave_out = Steps::parse(text()?).map_err(|_| BecomeError::Usage)?;
                }
                _ => return Err(BecomeError::Usage),
            }
        }
        become_it.command = arguments.collect();
        match (bounds, become_it.command.is_empty()) {
            ([Some(processes), Some(address_bytes), Some(file_bytes)], false) => Ok(Self {
                processes,
                address_bytes,
                file_bytes,
                ..become_it
            }),
            _ => Err(BecomeError::Usage),
        }
    }

    /// Gives up every privilege, checks that it is gone, and becomes the program. Returns only when
    /// that failed.
    #[must_use]
    pub fn run(&self) -> BecomeError {
        match self.give_up_and_exec() {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn give_up_and_exec(&self) -> Result<std::convert::Infallible, BecomeError> {
        let (program, rest) = self.command.split_first().ok_or(BecomeError::Usage)?;
        // A session of its own: no controlling terminal, and a process group to signal.
        setsid().map_err(refused("start a session"))?;
        if self.takes(Step::CleanStart) {
            close_fds::set_fds_cloexec(3, &[]);
        }
        if self.takes(Step::Cgroups) {
            for group in &self.groups {
                cgroups::join(group).map_err(BecomeError::Group)?;
            }
        }
        self.limit()?;
        if self.takes(Step::NoNewPrivileges) {
            set_no_new_privs(true).map_err(refused("set no_new_privs"))?;
        }
        // Its paths are opened while they can be.
        let files = self
            .takes(Step::Landlock)
            .then(|| self.rules.prepare())
            .transpose()?;
        if self.takes(Step::NoCapabilities) {
            drop_bounding_set()?;
            clear_ambient_capability_set().map_err(refused("clear the ambient capabilities"))?;
        }
        if let Some(id) = self.id {
            change_identity(id)?;
        }
        if self.takes(Step::NoCapabilities) {
            let nothing = CapabilitySets {
                effective: CapabilitySet::empty(),
                permitted: CapabilitySet::empty(),
                inheritable: CapabilitySet::empty(),
            };
            set_capabilities(None, nothing).map_err(refused("drop the capabilities"))?;
        }
        if let Some(files) = files {
            files.enter()?;
        }
        self.verify()?;
        // Changing identity clears this, so it comes after that.
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(refused("tie its life to the supervisor's"))?;
        if self
            .parent
            .is_some_and(|parent| Pid::as_raw(getppid()) != parent)
        {
            return Err(BecomeError::Orphaned);
        }
        // After this not even the calls above exist any more.
        if self.takes(Step::Seccomp) {
            seccomp::enter()?;
            if secure_computing_mode() != Ok(SecureComputingMode::Filter) {
                return Err(BecomeError::Remains("every system call"));
            }
        }
        Err(BecomeError::Exec(Command::new(program).args(rest).exec()))
    }

    fn takes(&self, step: Step) -> bool {
        !self.leave_out.has(step)
    }

    fn limit(&self) -> Result<(), BecomeError> {
        let limits = [
            (Step::NoCoreDumps, Resource::Core, 0),
            (Step::ResourceLimits, Resource::Nproc, self.processes),
            (Step::ResourceLimits, Resource::Nofile, 1024),
            (Step::ResourceLimits, Resource::Fsize, self.file_bytes),
            (Step::ResourceLimits, Resource::As, self.address_bytes),
            (Step::ResourceLimits, Resource::Memlock, LOCKED_BYTES),
            (Step::ResourceLimits, Resource::Msgqueue, 0),
        ];
        for (step, resource, most) in limits {
            if !self.takes(step) {
                continue;
            }
            let limit = Rlimit {
                current: Some(most),
                maximum: Some(most),
            };
            match setrlimit(resource, limit) {
                // The limit is already lower and may not be raised again: even better.
                Ok(()) | Err(Errno::PERM) => {}
                Err(source) => {
                    return Err(BecomeError::Refused {
                        what: "set a resource limit",
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// Asks the kernel whether everything is gone, instead of trusting that each call worked.
    fn verify(&self) -> Result<(), BecomeError> {
        if let Some(id) = self.id {
            let ids = [
                getuid().as_raw(),
                geteuid().as_raw(),
                getgid().as_raw(),
                getegid().as_raw(),
            ];
            if ids != [id; 4] {
                return Err(BecomeError::Remains("another identity"));
            }
            let groups = getgroups().map_err(refused("list the groups"))?;
            if groups.iter().any(|group| group.as_raw() != id) {
                return Err(BecomeError::Remains("a supplementary group"));
            }
        }
        if self.takes(Step::NoCapabilities) {
            let left = capabilities(None).map_err(refused("read the capabilities"))?;
            if !(left.effective | left.permitted | left.inheritable).is_empty() || has_ambient()? {
                return Err(BecomeError::Remains("a capability"));
            }
        }
        if self.takes(Step::NoNewPrivileges) && no_new_privs() != Ok(true) {
            return Err(BecomeError::Remains("the way to new privileges"));
        }
        Ok(())
    }
}

fn has_ambient() -> Result<bool, BecomeError> {
    for bit in 0..u64::BITS {
        match capability_is_in_ambient_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(false) => {}
            Ok(true) => return Ok(true),
            // Past the last capability that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(source) => return Err(refused("read the ambient capabilities")(source)),
        }
    }
    Ok(false)
}

/// Where this process may not shrink the bounding set, it has no capability to begin with, and
/// `no_new_privs` already keeps it from gaining one.
fn drop_bounding_set() -> Result<(), BecomeError> {
    for bit in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // Past the last capability that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(Errno::PERM) => {
                let held = capabilities(None).map_err(refused("read the capabilities"))?;
                if held.permitted.is_empty() {
                    break;
                }
                return Err(BecomeError::Remains("the bounding set"));
            }
            Err(source) => {
                return Err(BecomeError::Refused {
                    what: "drop the bounding set",
                    source,
                });
            }
        }
    }
    Ok(())
}

fn change_identity(id: u32) -> Result<(), BecomeError> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    set_thread_groups(&[]).map_err(refused("leave the supplementary groups"))?;
    set_thread_res_gid(gid, gid, gid).map_err(refused("change the group"))?;
    set_thread_res_uid(uid, uid, uid).map_err(refused("change the user"))
}

fn refused(what: &'static str) -> impl Fn(Errno) -> BecomeError {
    move |source| BecomeError::Refused { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_read_back_as_what_they_were_written_from() {
        let wanted = Become {
            id: Some(1002),
            processes: 64,
            address_bytes: 1 << 30,
            file_bytes: 1 << 20,
            rules: Rules {
                read: vec!["/opt".into()],
                write: vec!["/data/work".into(), "/tmp".into()],
            },
            groups: vec!["/sys/fs/cgroup/a".into()],
            parent: Some(7),
            leave_out: Steps::parse("cgroups,landlock").unwrap(),
            command: vec!["/bin/sh".into(), "-c".into(), "-- --id 0".into()],
        };
        let read = Become::parse(wanted.arguments().into_iter().skip(1)).unwrap();
        assert_eq!(read, wanted);
        let bounds = ["--processes", "1", "--address", "1", "--file", "1"];
        for bad in [
            &["--id"][..],
            &["--processes", "x", "--", "a"],
            &["--", "a"],
            &[&bounds[..], &["--"]].concat(),
            &[&bounds[..4], &["--", "a"]].concat(),
            &[&bounds[..], &["--leave-out", "all", "--", "a"]].concat(),
        ] {
            assert!(
                Become::parse(bad.iter().map(OsString::from)).is_err(),
                "{bad:?}"
            );
        }
        let good = [&bounds[..], &["--", "a"]].concat();
        assert!(Become::parse(good.iter().map(OsString::from)).is_ok());
    }
}
