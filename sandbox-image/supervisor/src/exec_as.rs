//! `supervisor exec-as`: gives up every privilege and becomes another program.
//!
//! A process of its own, started afresh, so the supervisor's memory is already gone when the last
//! privilege goes, and no code has to run between `fork` and `exec`.

use std::{ffi::OsString, io, os::unix::process::CommandExt as _, process::Command};

use rustix::{
    io::Errno,
    process::{
        Gid, Resource, Rlimit, Signal, Uid, getegid, geteuid, getgid, getgroups, getuid,
        set_parent_process_death_signal, setrlimit, setsid,
    },
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, no_new_privs,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid,
    },
};

/// The exit code when a privilege could not be given up or the program could not be run.
pub const EXIT_CODE: u8 = 126;

const GIB: u64 = 1024 * 1024 * 1024;

/// What to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Become {
    /// The user and group to run as; without one the current ones stay.
    pub id: Option<u32>,
    /// Processes that the user may have.
    pub processes: u64,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// Why it did not become the program.
#[derive(Debug, thiserror::Error)]
pub enum BecomeError {
    /// The command line is not ours.
    #[error("usage: supervisor exec-as [--id N] --processes N -- PROGRAM [ARGUMENT…]")]
    Usage,
    /// A privilege could not be given up.
    #[error("could not {what}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: Errno,
    },
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
        if let Some(id) = self.id {
            arguments.extend(["--id".into(), id.to_string().into()]);
        }
        arguments.extend([
            "--processes".into(),
            self.processes.to_string().into(),
            "--".into(),
        ]);
        arguments.extend(self.command.iter().cloned());
        arguments
    }

    /// Reads the arguments after `exec-as`.
    ///
    /// # Errors
    /// [`BecomeError::Usage`].
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, BecomeError> {
        let mut arguments = arguments.into_iter();
        let number = |text: Option<OsString>| {
            text.and_then(|text| text.to_str()?.parse::<u64>().ok())
                .ok_or(BecomeError::Usage)
        };
        let (mut id, mut processes) = (None, None);
        loop {
            match arguments.next().as_ref().and_then(|text| text.to_str()) {
                Some("--id") => {
                    let raw = number(arguments.next())?;
                    id = Some(u32::try_from(raw).map_err(|_| BecomeError::Usage)?);
                }
                Some("--processes") => processes = Some(number(arguments.next())?),
                Some("--") => break,
                _ => return Err(BecomeError::Usage),
            }
        }
        let command: Vec<OsString> = arguments.collect();
        match (processes, command.is_empty()) {
            (Some(processes), false) => Ok(Self {
                id,
                processes,
                command,
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
        close_fds::set_fds_cloexec(3, &[]);
        self.limit()?;
        set_no_new_privs(true).map_err(refused("set no_new_privs"))?;
        drop_bounding_set()?;
        clear_ambient_capability_set().map_err(refused("clear the ambient capabilities"))?;
        if let Some(id) = self.id {
            change_identity(id)?;
        }
        let nothing = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, nothing).map_err(refused("drop the capabilities"))?;
        self.verify()?;
        // Changing identity clears this, so it comes last.
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(refused("tie its life to the supervisor's"))?;
        Err(BecomeError::Exec(Command::new(program).args(rest).exec()))
    }

    fn limit(&self) -> Result<(), BecomeError> {
        let limits = [
            (Resource::Core, 0),
            (Resource::Nproc, self.processes),
            (Resource::Nofile, 1024),
            (Resource::Fsize, GIB),
            (Resource::As, 8 * GIB),
        ];
        for (resource, most) in limits {
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
        let left = capabilities(None).map_err(refused("read the capabilities"))?;
        if !(left.effective | left.permitted | left.inheritable).is_empty() {
            return Err(BecomeError::Remains("a capability"));
        }
        if no_new_privs() != Ok(true) {
            return Err(BecomeError::Remains("the way to new privileges"));
        }
        Ok(())
    }
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
            command: vec!["/bin/sh".into(), "-c".into(), "-- --id 0".into()],
        };
        let read = Become::parse(wanted.arguments().into_iter().skip(1)).unwrap();
        assert_eq!(read, wanted);
        for bad in [
            &["--id"][..],
            &["--processes", "x", "--", "a"],
            &["--", "a"],
            &["--processes", "1", "--"],
        ] {
            assert!(
                Become::parse(bad.iter().map(OsString::from)).is_err(),
                "{bad:?}"
            );
        }
    }
}
