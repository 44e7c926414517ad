//! The agent's loop. It asks the model, calls the tools that the model wants, and writes the session
//! to the volume after every step, so that whatever ends it, the next start goes on where it was.
//!
//! No credential ever comes here: servers and shell are behind the supervisor's socket, which adds
//! the tokens. [`Harness`] is the boundary behind which another agent could stand.

pub mod agent;
pub mod checkpoint;
pub mod compact;
pub mod config;
pub mod heartbeat;
pub mod inconclusive;
pub mod link;
pub mod model;
pub mod run;
pub mod servers;
pub mod session;
pub mod shell;
pub mod socket;
pub mod step;
pub mod toolbox;

use nightshift_protocol::Brief;

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The report is with the casebook and every message is answered.
    Done,
    /// The casebook says that the run is over.
    Over,
    /// The supervisor asked to stop; the session is on the volume.
    Stopped,
}

/// An agent that can be given a brief. The default is [`run::Native`].
pub trait Harness {
    /// Why it could not work.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Works on a brief until there is nothing left to do, continuing a session that is on the
    /// volume. Ends at once when `stop` resolves.
    fn work(
        &self,
        brief: Brief,
        stop: impl Future<Output = ()>,
    ) -> impl Future<Output = Result<Finish, Self::Error>>;
}
