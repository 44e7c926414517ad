//! The sandbox's two sockets, at the places where they are in every sandbox.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::net::sockopt::socket_peercred;

use super::{
    Failed,
    channel::Channel,
    root::{FLY, GATEWAY},
    step, streams,
};
use crate::wire::Service;

/// Connections that one socket may have open.
const CONNECTIONS_MAX: usize = 128;
/// Pause while there are as many, or when a connection cannot be taken.
const PAUSE: Duration = Duration::from_millis(20);

/// Opens both.
pub(super) fn listen(channel: &Arc<Channel>) -> Result<(), Failed> {
    let identity = Path::new(FLY).join("api");
    serve(channel, &identity, 0o600, Service::Identity)?;
    serve(channel, Path::new(GATEWAY), 0o666, Service::Gateway)
}

fn serve(channel: &Arc<Channel>, path: &Path, mode: u32, service: Service) -> Result<(), Failed> {
    let name = || path.display().to_string();
    let listener = UnixListener::bind(path).map_err(step(name()))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(step(name()))?;
    let channel = Arc::clone(channel);
    let open = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        loop {
            let room = open.load(Ordering::Relaxed) < CONNECTIONS_MAX;
            let Some(Ok((socket, _))) = room.then(|| listener.accept()) else {
                thread::sleep(PAUSE);
                continue;
            };
            if !may_connect(&socket, service) {
                continue;
            }
            open.fetch_add(1, Ordering::Relaxed);
            let (channel, left) = (Arc::clone(&channel), Arc::clone(&open));
            let carrying = thread::Builder::new().spawn(move || {
                let (stream, received) = channel.open(socket, service);
                streams::carry(&channel, &stream, received);
                left.fetch_sub(1, Ordering::Relaxed);
            });
            if carrying.is_err() {
                open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    });
    Ok(())
}

/// Whether the kernel says that it is somebody who may: the identity is for root inside.
fn may_connect(socket: &UnixStream, service: Service) -> bool {
    match service {
        Service::Gateway => true,
        Service::Identity => socket_peercred(socket).is_ok_and(|peer| peer.uid.is_root()),
    }
}
