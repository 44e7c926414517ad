//! The thread that starts sandboxes.
//!
//! bubblewrap dies with its parent, and to the kernel the parent is the thread that started it.
//! Threads of the runtime come and go; this one stays until the process ends.

use std::{io, process::Command, sync::mpsc, thread};

use tokio::{process::Child, runtime::Handle, sync::oneshot};

type Request = (Command, oneshot::Sender<io::Result<Child>>);

/// Starts processes that die with us, and not before.
#[derive(Debug)]
pub(crate) struct Spawner(mpsc::Sender<Request>);

impl Spawner {
    /// Starts the thread. Children belong to the runtime of `handle`.
    pub(crate) fn start(handle: Handle) -> io::Result<Self> {
        let (sender, requests) = mpsc::channel::<Request>();
        thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                let _inside = handle.enter();
                for (command, reply) in requests {
                    let child = tokio::process::Command::from(command).spawn();
                    // Whoever asked has gone; the child is dropped, and killed with us.
                    let _ = reply.send(child);
                }
            })?;
        Ok(Self(sender))
    }

    /// Starts a process.
    pub(crate) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the spawner has ended");
        let (reply, answer) = oneshot::channel();
        self.0.send((command, reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
