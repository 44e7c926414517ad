//! A view of the directories that sandboxes can reach, where their real place is closed to them.
//!
//! As root, each sandbox is set up by a host user of its own, who must be able to walk to the
//! volumes and images. Below a directory like `/root` nobody can. Then the server moves into a
//! mount namespace of its own and sees them at a place that is open; nothing changes for others.

use std::{
    io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::mount::{MountFlags, mount, mount_bind_recursive};

use crate::Args;

/// Where the view is mounted. Only the directory itself exists for others, and stays empty.
const STAGE: &str = "/run/nightshift-machined";

/// The directories cannot be shown to sandboxes.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// A step of moving them into view failed.
    #[error(
        "{path} is closed to other users, and showing it elsewhere failed; use a directory that others may pass through"
    )]
    Closed {
        /// The directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Gives the command line back with directories that every sandbox can reach. Where that takes a
/// mount namespace, the process is replaced by one inside it.
pub fn stage(args: Args) -> Result<Args, StagingError> {
    close_inherited();
    if !rustix::process::geteuid().is_root() {
        return Ok(args);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StagingError::Closed { path, source }
    };
    for path in [&args.state, &args.images] {
        std::fs::create_dir_all(path).map_err(failed(path))?;
    }
    if args.staged {
        let view = Path::new(STAGE);
        std::fs::create_dir_all(view).map_err(failed(view))?;
        // Opened before the mount, which must not hide them.
        let canonical = |path: &Path| path.canonicalize().map_err(failed(path));
        let (state, images) = (canonical(&args.state)?, canonical(&args.images)?);
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", view, "tmpfs", flags, Some(c"mode=0711"))
            .map_err(|error| failed(view)(error.into()))?;
        let show = |from: &Path, name: &str| {
            let to = view.join(name);
            std::fs::create_dir(&to)
                .and_then(|()| mount_bind_recursive(from, &to).map_err(io::Error::from))
                .map_err(failed(from))
                .map(|()| to)
        };
        return Ok(Args {
            state: show(&state, "state")?,
            images: show(&images, "images")?,
            ..args
        });
    }
    let closed = [&args.state, &args.images]
        .into_iter()
        .find(|path| !open_to_all(path));
    let Some(closed) = closed else {
        return Ok(args);
    };
    tracing::info!(path = %closed.display(), "closed to other users, moving to an own namespace");
    let this = std::env::current_exe().map_err(failed(closed))?;
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "slave", "--"])
        .arg(this)
        .args(std::env::args_os().skip(1))
        .arg("--staged")
        .exec();
    Err(failed(closed)(error))
}

/// Closes what the parent left open, by becoming ourselves again through a shell that does.
///
/// bubblewrap hands on every descriptor it has, so a lock or a log of the parent's would be open in
/// every sandbox. Descriptors whose owner is unknown cannot be closed in safe Rust.
fn close_inherited() {
    let own = format!("/proc/{}/fd", std::process::id());
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let inherited: Vec<String> = entries
        .filter_map(Result::ok)
        // The one that this directory is read through.
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to != Path::new(&own)))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|fd| fd.parse().is_ok_and(|fd: u32| fd > 2))
        .collect();
    let Ok(this) = std::env::current_exe() else {
        return;
    };
    if inherited.is_empty() {
        return;
    }
    let close = "n=$1; shift; for fd in $n; do eval \"exec $fd>&-\"; done; exec \"$@\"";
    let error = Command::new("/bin/bash")
        .args(["-c", close, "close", &inherited.join(" ")])
        .arg(this)
        .args(std::env::args_os().skip(1))
        .exec();
    tracing::warn!(%error, "descriptors of the parent stay open, in sandboxes too");
}

/// Whether every user may pass through all directories above `path`.
fn open_to_all(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    path.ancestors().skip(1).all(|directory| {
        directory
            .metadata()
            .is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    })
}
