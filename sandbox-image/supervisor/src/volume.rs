//! The directories on the volume and the agent socket, each with the owner it needs.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown},
    path::Path,
};

use tokio::net::UnixListener;

use crate::config::{Config, Transport};

/// Makes what is missing. The volume's root stays the supervisor's, so neither harness nor agent
/// can put something else in the place of a directory.
///
/// # Errors
/// What the file system refused, and anything in the place of a directory that is none.
pub fn prepare(config: &Config) -> io::Result<()> {
    directory(&config.volume.join("home"), 0o700, config.harness_id())?;
    directory(&config.volume.join("session"), 0o700, config.harness_id())?;
    directory(&config.volume.join("work"), 0o700, config.agent_id())?;
    Ok(())
}

/// Listens on the agent socket, which only the harness's group can reach. Where the gateway's socket
/// is a neighbour, the agent's shell is kept away from that too: whatever it sends, it sends nowhere.
///
/// # Errors
/// What the file system refused.
pub fn listen(config: &Config) -> io::Result<UnixListener> {
    directory(&config.run, 0o750, None)?;
    if let Some(group) = config.harness_id() {
        chown(&config.run, None, Some(group))?;
        let Transport::Unix(gateway) = &config.transport;
        if let Some(shared) = config.run.parent()
            && gateway.parent() == Some(shared)
        {
            chown(shared, None, Some(group))?;
            fs::set_permissions(shared, Permissions::from_mode(0o750))?;
        }
    }
    let path = config.agent_socket();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    if let Some(group) = config.harness_id() {
        chown(&path, None, Some(group))?;
    }
    fs::set_permissions(&path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Whether the volume takes and keeps a file.
///
/// # Errors
/// What it refused.
pub fn check_writable(config: &Config) -> io::Result<()> {
    let path = config.volume.join(".selfcheck");
    let mut file = File::create(&path)?;
    file.write_all(b"ok")?;
    file.sync_all()?;
    fs::remove_file(path)
}

fn directory(path: &Path, mode: u32, owner: Option<u32>) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !fs::symlink_metadata(path)?.is_dir() {
                return Err(io::Error::other(format!(
                    "{} is not a directory",
                    path.display()
                )));
            }
        }
        Err(error) => return Err(error),
    }
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    chown(path, owner, owner)
}
