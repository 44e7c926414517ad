//! Who is on the other end of the agent socket.

use nightshift_controls::{Control, holds};
use rustix::{net::sockopt::socket_peercred, process::Pid};
use tokio::net::UnixStream;

/// The only process that may use the tokens, though it never sees them.
///
/// The process id is checked beside the user: where harness and agent have to share a user, it is
/// all that tells them apart. Against another process of the same user that is an obstacle and not
/// a boundary, because that process could take the harness over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Harness {
    /// Its user.
    pub uid: u32,
    /// Its process.
    pub pid: Pid,
}

impl Harness {
    /// Whether the harness is on the other end, by the kernel's word.
    #[must_use]
    pub fn is(self, stream: &UnixStream) -> bool {
        socket_peercred(stream)
            .is_ok_and(|peer| peer.uid.as_raw() == self.uid && peer.pid == self.pid)
            || !holds(Control::SandboxPeer)
    }
}
