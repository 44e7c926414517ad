//! Removing what sandboxed users left behind, which may be closed to the user we are.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::uids::UidPolicy;
use crate::disk::remove_tree;

/// Removes a tree that a sandbox wrote.
pub(crate) fn scrub(uids: &UidPolicy, path: &Path, slot: u32) -> io::Result<()> {
    match remove_tree(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        done => return done,
    }
    match uids {
        UidPolicy::Range => {}
        // Files of subordinate users: only their own root inside can remove them.
        UidPolicy::SubRange { .. } => remove_inside(uids, path, slot)?,
        UidPolicy::Single => open_up(path)?,
    }
    remove_tree(path)
}

/// Makes every directory of ours passable again.
fn open_up(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the tree as root of the users that wrote it.
fn remove_inside(uids: &UidPolicy, path: &Path, slot: u32) -> io::Result<()> {
    let mut child = Command::new("/usr/bin/unshare")
        .args([
            "--user",
            "--",
            "/bin/sh",
            "-c",
            "read go && exec rm -rf -- \"$0\"",
        ])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()?;
    // The shell runs in its namespace only once unshare has made it.
    let own = fs::read_link("/proc/self/ns/user")?;
    let theirs = format!("/proc/{}/ns/user", child.id());
    let mut tries = 0;
    while fs::read_link(&theirs)? == own && tries < 1_000 {
        std::thread::sleep(Duration::from_millis(1));
        tries += 1;
    }
    uids.map(child.id(), slot)?;
    if let Some(mut go) = child.stdin.take() {
        go.write_all(b"\n")?;
    }
    child.wait().map(drop)
}
