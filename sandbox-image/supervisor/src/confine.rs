//! What a thread gives up before it becomes harness or shell: new privileges, most system calls, most files.

pub mod landlock;
pub mod seccomp;
mod syscalls;

use std::{path::Path, thread};

use rustix::{
    net::{AddressFamily, SocketType, socket},
    thread::{no_new_privs, set_no_new_privs},
};

use crate::{logging::causes, steps::Step};

/// `AF_VSOCK`: how a guest talks to the host of its virtual machine, past every network namespace.
const VSOCK: AddressFamily = AddressFamily::from_raw(40);

/// Tries the confinement on a thread of its own that ends with it, and asks the kernel whether it holds.
/// `closed` is a directory that confined programs must not reach.
#[must_use]
pub fn probe(
    closed: &Path,
    leave_out: &dyn Fn(Step) -> bool,
) -> Vec<(Step, Result<String, String>)> {
    let wanted =
        [Step::NoNewPrivileges, Step::Landlock, Step::Seccomp].map(|step| (step, !leave_out(step)));
    let closed = closed.to_owned();
    let trying = thread::Builder::new().spawn(move || {
        let tried = wanted.into_iter().filter(|(_, wanted)| *wanted);
        tried
            .map(|(step, _)| (step, try_out(step, &closed)))
            .collect::<Vec<_>>()
    });
    let failed = |reason: &str| {
        let all = wanted.into_iter().filter(|(_, wanted)| *wanted);
        all.map(|(step, _)| (step, Err(reason.to_owned())))
            .collect()
    };
    match trying.map(thread::JoinHandle::join) {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => failed("the thread that tried it broke"),
        Err(error) => failed(&format!("no thread to try it on: {error}")),
    }
}

fn try_out(step: Step, closed: &Path) -> Result<String, String> {
    if step == Step::NoNewPrivileges {
        set_no_new_privs(true).map_err(|error| error.to_string())?;
        return match no_new_privs() {
            Ok(true) => Ok("set".to_owned()),
            other => Err(format!("the kernel says {other:?}")),
        };
    }
    if step == Step::Landlock {
        let detail = landlock::Rules::default()
            .prepare()
            .and_then(landlock::Prepared::enter)
            .map_err(|error| causes(&error))?;
        return match std::fs::read_dir(closed) {
            Err(_) => Ok(detail),
            Ok(_) => Err(format!("{} stayed open", closed.display())),
        };
    }
    seccomp::enter().map_err(|error| causes(&error))?;
    match socket(VSOCK, SocketType::STREAM, None) {
        Err(rustix::io::Errno::AFNOSUPPORT) => Ok("filters installed".to_owned()),
        other => Err(format!("a socket to the host gave {other:?}")),
    }
}
