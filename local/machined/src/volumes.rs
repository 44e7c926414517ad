//! What a volume's files lie in: a file system of its size, or a directory that is watched.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use crate::disk::Disk;

/// Makes file systems; looked for where Debian and others put it.
const MKE2FS: [&str; 3] = ["/usr/sbin/mke2fs", "/sbin/mke2fs", "/usr/bin/mke2fs"];
/// Mounts the first path on the second, out of everybody else's sight, and becomes the rest.
///
/// The device is given up as soon as it is mounted, so the kernel frees it with the last process that sees
/// the mount. `mount -o loop` would do the same, but looks at every loop device of the host first.
const MOUNTED: [&str; 8] = [
    "/usr/bin/unshare",
    "--mount",
    "--propagation",
    "private",
    "--",
    "/bin/sh",
    "-c",
    "device=$(/sbin/losetup --find --show \"$0\") || exit 1
     /bin/mount -n -i -t ext4 -o nosuid,nodev,discard \"$device\" \"$1\"
     mounted=$?
     /sbin/losetup --detach \"$device\"
     [ $mounted = 0 ] && shift && exec \"$@\"",
];
/// How long a device that is to be free may take, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// How volumes are held to their size on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VolumePolicy {
    /// Each is an ext4 of its size in a file, mounted while its machine runs.
    FileSystem,
    /// Each is a directory; whoever takes more than its size is ended when that is seen.
    Watched {
        /// Why it cannot be a file system.
        why: String,
    },
}

/// Where one volume's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backing {
    /// The directory they appear in.
    pub(crate) files: PathBuf,
    /// The file system to mount there first.
    pub(crate) image: Option<PathBuf>,
}

impl VolumePolicy {
    /// What this process may do here, found out by doing it in `scratch`.
    pub(crate) fn detect(scratch: &Path) -> Self {
        if !rustix::process::geteuid().is_root() {
            let why = "only root may mount".to_owned();
            return Self::Watched { why };
        }
        let (image, point) = (scratch.join("probe.img"), scratch.join("probe"));
        let tried = fs::create_dir_all(&point)
            .and_then(|()| make(&image, 8 << 20, 0))
            .and_then(|()| {
                let mut command = mounting(&image, &point);
                done(&command.arg("/bin/true").output()?)
            });
        let _ = fs::remove_file(&image);
        let _ = fs::remove_dir(&point);
        match tried {
            Ok(()) => Self::FileSystem,
            Err(error) => {
                let why = error.to_string();
                tracing::warn!(why, "volumes cannot be file systems; their size is watched");
                Self::Watched { why }
            }
        }
    }

    /// Gives a volume that no machine had yet its file system, where it is to have one.
    pub(crate) fn format(
        &self,
        disk: &Disk,
        volume: &str,
        bytes: u64,
        owner: u32,
    ) -> io::Result<()> {
        let backing = Backing::of(disk, volume);
        let begun = fs::read_dir(&backing.files)?.next().is_some();
        if *self != Self::FileSystem || backing.image.is_some() || begun {
            return Ok(());
        }
        let (new, place) = (image_of(disk, volume, "new"), image_of(disk, volume, "img"));
        make(&new, bytes, owner)?;
        fs::rename(new, place)
    }
}

impl Backing {
    /// Where a volume's files are now.
    pub(crate) fn of(disk: &Disk, volume: &str) -> Self {
        let image = image_of(disk, volume, "img");
        Self {
            files: disk.volume_dir(volume).join("data"),
            image: image.exists().then_some(image),
        }
    }
}

/// The command that mounts a volume and becomes what is appended to it.
pub(crate) fn mounting(image: &Path, point: &Path) -> Command {
    let mut command = Command::new(MOUNTED[0]);
    command.args(&MOUNTED[1..]).arg(image).arg(point);
    command
}

/// Waits until no loop device has a file below `path`, or that file itself; what nobody has mounted is
/// detached. Two devices on one file would be two file systems that know nothing of each other.
pub(crate) fn until_free(path: &Path) -> io::Result<()> {
    let began = Instant::now();
    let mut left = devices_on(path);
    for device in &left {
        // One that is mounted is detached by the kernel when it is not any more.
        let mut detach = Command::new("/sbin/losetup");
        let _ = detach.arg("--detach").arg(device).output();
    }
    while !left.is_empty() && began.elapsed() < PATIENCE {
        thread::sleep(PAUSE);
        left = devices_on(path);
    }
    if left.is_empty() {
        return Ok(());
    }
    let path = path.display();
    Err(io::Error::other(format!(
        "{path} is still mounted by somebody"
    )))
}

fn devices_on(path: &Path) -> Vec<PathBuf> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let on_it = devices.filter(|device| {
        let file = fs::read_to_string(device.path().join("loop/backing_file"));
        file.is_ok_and(|file| Path::new(file.trim_end()).starts_with(path))
    });
    on_it
        .map(|device| Path::new("/dev").join(device.file_name()))
        .collect()
}

/// What a directory takes of the disk, in bytes. What cannot be looked into is not counted.
pub(crate) fn taken(directory: &Path) -> u64 {
    let mut bytes = 0;
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                left.push(entry.path());
            }
        }
    }
    bytes
}

fn image_of(disk: &Disk, volume: &str, kind: &str) -> PathBuf {
    disk.volume_dir(volume).join(format!("disk.{kind}"))
}

/// The program that makes file systems.
pub(crate) fn mke2fs() -> io::Result<&'static str> {
    let mke2fs = MKE2FS.into_iter().find(|path| Path::new(path).exists());
    mke2fs.ok_or_else(|| io::Error::other("mke2fs is not installed"))
}

/// A sparse file with a file system in it whose root belongs to `owner`.
fn make(image: &Path, bytes: u64, owner: u32) -> io::Result<()> {
    let mke2fs = mke2fs()?;
    fs::File::create(image)?.set_len(bytes)?;
    let root =
        format!("nodiscard,lazy_itable_init=1,lazy_journal_init=1,root_owner={owner}:{owner}");
    let mut command = Command::new(mke2fs);
    command.args(["-q", "-F", "-t", "ext4", "-m", "0"]);
    if bytes >= 64 << 20 {
        command.args(["-J", "size=4"]);
    }
    done(&command.args(["-E", &root]).arg(image).output()?)
}

/// Whether a program did what it was to do; else what it said.
pub(crate) fn done(output: &Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(said.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_counts_and_what_is_only_promised_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let before = taken(directory.path());
        fs::create_dir(directory.path().join("deep")).unwrap();
        let sparse = fs::File::create(directory.path().join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        fs::write(directory.path().join("deep/full"), vec![1; 1 << 20]).unwrap();
        fs::File::open(directory.path().join("deep/full"))
            .and_then(|file| file.sync_all())
            .unwrap();
        let taken = taken(directory.path()) - before;
        assert!((1 << 20..2 << 20).contains(&taken), "{taken}");
    }
}
