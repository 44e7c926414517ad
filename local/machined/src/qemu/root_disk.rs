//! An image's root filesystem as a disk, made once per digest and read by all of its machines.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::PoisonError,
};

use super::Qemu;
use crate::{
    images::Image,
    volumes::{done, mke2fs, taken},
};

/// How the name of a disk begins that is not finished.
const DRAFT: &str = ".new-";
/// Room beyond what the files take, for inodes and tables. What is not written is not stored.
const ROOM: u64 = 64 << 20;

impl Qemu {
    /// Where an image's disk is, once it is made. Blocks, for seconds; several at once wait for one.
    pub(crate) fn root_disk(&self, image: &Image) -> io::Result<PathBuf> {
        let hex = image.digest.trim_start_matches("sha256:");
        let place = self.disks.join(format!("{hex}.ext4"));
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if !place.exists() {
            let draft = self.disks.join(format!("{DRAFT}{hex}"));
            make(&image.rootfs, &draft)?;
            fs::rename(draft, &place)?;
        }
        Ok(place)
    }

    /// Removes the disks of images that no machine has, and what a killed life left half made.
    pub(crate) fn forget_all_but(&self, used: &BTreeSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.disks)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let unused = name
                .strip_suffix(".ext4")
                .is_some_and(|hex| !used.contains(&format!("sha256:{hex}")));
            if unused || name.starts_with(DRAFT) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// A file system without a journal: nobody ever writes to it.
fn make(files: &Path, disk: &Path) -> io::Result<()> {
    let bytes = (taken(files) * 3 / 2 + ROOM).next_multiple_of(1 << 20);
    fs::File::create(disk)?.set_len(bytes)?;
    let mke2fs = mke2fs()?;
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new(mke2fs)
    } else {
        // All files are ours outside, and nobody's but root's inside.
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--map-root-user", mke2fs]);
        command
    };
    command
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal"])
        .args(["-E", "nodiscard,root_owner=0:0", "-d"])
        .args([files, disk]);
    done(&command.output()?)
}
