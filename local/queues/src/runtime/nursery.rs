//! The thread that starts instances, so that they end when it does.
//!
//! An instance at work does not notice that its host is gone. So the kernel kills it when the thread that
//! started it ends; threads of the async runtime may end at any time, this one ends with the host.

use std::{io, sync::mpsc, thread};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

type Birth = (Command, oneshot::Sender<io::Result<Child>>);

/// Starts processes that end with it.
#[derive(Debug, Clone)]
pub(super) struct Nursery {
    births: mpsc::Sender<Birth>,
}

impl Nursery {
    /// Opens it; must be called on the async runtime.
    pub(super) fn open() -> io::Result<Self> {
        let (births, wanted) = mpsc::channel::<Birth>();
        let runtime = Handle::current();
        thread::Builder::new()
            .name("lambda-nursery".to_owned())
            .spawn(move || {
                let _inside = runtime.enter();
                while let Ok((mut command, born)) = wanted.recv() {
                    // Nobody waits any more: the child is dropped, and killed with that.
                    let _ = born.send(command.spawn());
                }
            })?;
        Ok(Self { births })
    }

    /// Starts one. The command must set the signal itself; see [`dies_with_its_parent`].
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts instances is gone");
        let (born, birth) = oneshot::channel();
        self.births.send((command, born)).map_err(|_| gone())?;
        birth.await.map_err(|_| gone())?
    }
}

/// A command that is killed when the thread that started it ends. It keeps its process id, as `setpriv`
/// becomes the program.
pub(super) fn dies_with_its_parent(program: &std::path::Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}
