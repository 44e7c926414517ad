//! Freezing a machine into a file, from which its next start goes on.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nightshift_guest::wire::Frame;
use serde_json::json;
use tokio::net::UnixStream;

use super::{
    channel::{self, Guest},
    qmp::Monitor,
};
use crate::disk::ignore_missing;

/// How long a machine may take to fall silent.
const REST_PATIENCE: Duration = Duration::from_secs(10);
/// How long writing or reading its memory may take.
const COPY_PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(2);

/// Where a machine's memory is kept.
pub(super) fn place(directory: &Path) -> PathBuf {
    directory.join("suspended")
}

/// Gives up what was kept of a machine.
pub(crate) fn forget(directory: &Path) -> io::Result<()> {
    ignore_missing(fs::remove_file(place(directory)))
}

/// Stops a machine and keeps its memory and devices. Where that fails it runs on.
pub(crate) async fn suspend(guest: &Guest, directory: &Path) -> io::Result<()> {
    let mut monitor = guest.monitor().await;
    let monitor = monitor.as_mut().ok_or(io::ErrorKind::NotConnected)?;
    if !guest.rest(REST_PATIENCE).await {
        guest.tell(Frame::Wake(channel::now()));
        return Err(io::Error::other("the machine does not fall silent"));
    }
    let place = place(directory);
    let draft = place.with_extension("new");
    let kept = keep(monitor, &draft).await;
    match kept.and_then(|()| fs::rename(&draft, &place)) {
        Ok(()) => {
            guest.mark_suspended();
            Ok(())
        }
        Err(error) => {
            let _ = fs::remove_file(&draft);
            let _ = monitor.run("cont", json!({})).await;
            guest.tell(Frame::Wake(channel::now()));
            Err(error)
        }
    }
}

async fn keep(monitor: &mut Monitor, draft: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(draft)?;
    monitor.run("stop", json!({})).await?;
    // As fast as the disk takes it.
    let parameters = json!({ "max-bandwidth": 1_u64 << 40 });
    monitor.run("migrate-set-parameters", parameters).await?;
    monitor.hand_over("memory", &file).await?;
    monitor
        .run("migrate", json!({ "uri": "fd:memory" }))
        .await?;
    let began = Instant::now();
    while began.elapsed() < COPY_PATIENCE {
        let said = monitor.run("query-migrate", json!({})).await?;
        match said["status"].as_str() {
            Some("completed") => return Ok(()),
            Some("failed" | "cancelled") => {
                return Err(io::Error::other(said["error-desc"].to_string()));
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
    let _ = monitor.run("migrate_cancel", json!({})).await;
    Err(io::ErrorKind::TimedOut.into())
}

/// Lets a machine go on whose memory QEMU reads from the file it was given.
pub(super) async fn go_on(monitor: &mut Monitor) -> io::Result<()> {
    let began = Instant::now();
    while began.elapsed() < COPY_PATIENCE {
        let said = monitor.run("query-status", json!({})).await?;
        if said["status"] != "inmigrate" {
            return monitor.run("cont", json!({})).await.map(drop);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Both ends of a socket, ours without blocking.
pub(super) fn pair() -> io::Result<(UnixStream, std::os::fd::OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = theirs.into_std()?;
    theirs.set_nonblocking(false)?;
    Ok((ours, theirs.into()))
}
