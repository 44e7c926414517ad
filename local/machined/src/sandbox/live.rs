//! A machine that runs: what to hold, whom to ask, when it is over.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use nightshift_guest::wire::Frame;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Child,
    task::{AbortHandle, JoinHandle},
};

use crate::{cgroups::Group, qemu::Guest};

/// A machine that has just booted.
#[derive(Debug)]
pub(crate) struct Booted {
    /// bubblewrap, outside; its end is the machine's.
    pub(crate) child: Child,
    /// What to hold while it runs.
    pub(crate) live: Live,
    /// Its control group, to be given up once nothing of it runs. Giving up may block.
    pub(crate) group: Option<Group>,
    /// Where it is a virtual machine: that, which knows how its program ended.
    pub(crate) guest: Option<Arc<Guest>>,
    /// What writes down what it prints, until nobody prints any more.
    pub(crate) printed: JoinHandle<()>,
}

/// A running machine. Dropping it closes its sockets.
#[derive(Debug)]
pub(crate) struct Live {
    /// Its first process.
    pub(crate) init: Arc<Init>,
    _sockets: Vec<Listening>,
}

/// The first process of a machine's process namespace; when it ends, so do all the others.
#[derive(Debug)]
pub(crate) struct Init {
    pid: Pid,
    fd: AsyncFd<OwnedFd>,
    /// The virtual machine in it, whose program is out of our reach.
    guest: Option<Arc<Guest>>,
}

/// A task that listens, until dropped.
#[derive(Debug)]
pub(super) struct Listening(pub(super) AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Live {
    pub(super) fn new(init: Arc<Init>, sockets: impl Into<Vec<Listening>>) -> Self {
        Self {
            init,
            _sockets: sockets.into(),
        }
    }

    /// Of a virtual machine, whose sockets are its own.
    pub(crate) fn of_guest(init: Arc<Init>) -> Self {
        Self::new(init, [])
    }
}

impl Init {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for descriptors others may close; this one is ours"
    )]
    pub(super) fn watch(pid: Pid, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pid,
            fd: AsyncFd::with_interest(fd, Interest::READABLE)?,
            guest: None,
        })
    }

    /// It, with the virtual machine that is in it.
    pub(crate) fn with_guest(self, guest: Arc<Guest>) -> Self {
        Self {
            guest: Some(guest),
            ..self
        }
    }

    /// Kills everything in the machine.
    pub(crate) fn kill(&self) {
        // It fails only if all is over already.
        let _ = pidfd_send_signal(self.fd.get_ref(), Signal::KILL);
    }

    /// Asks the program in it to stop. False if there is none to ask.
    pub(crate) fn ask(&self, signal: Signal) -> bool {
        if let Some(guest) = &self.guest {
            guest.tell(Frame::Signal(signal.as_raw()));
            return true;
        }
        super::entry::signal(self.pid, signal)
    }

    /// Waits until nothing of the machine runs, and reaps it if it became ours.
    pub(crate) async fn ended(&self) {
        let _ = self.fd.readable().await;
        let _ = waitid(
            WaitId::PidFd(self.fd.get_ref().as_fd()),
            WaitIdOptions::EXITED,
        );
    }

    /// The virtual machine in it, if there is one.
    pub(crate) fn guest(&self) -> Option<&Arc<Guest>> {
        self.guest.as_ref()
    }
}
