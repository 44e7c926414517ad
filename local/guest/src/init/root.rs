//! The sandbox's root: the image, read-only, with its own directories in it, at the places where they
//! are in every sandbox.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    mount::{MountFlags, mount, mount_bind, mount_bind_recursive, mount_remount},
};

use super::{DEVICES_PATIENCE, Failed, PAUSE, step};
use crate::wire::Brief;

/// Where it is made, before it becomes `/`.
pub(super) const ROOT: &str = "/root";
/// The disk with the image's files, by its serial number.
const IMAGE_DISK: &str = "image";
/// The disk with the volume's.
const VOLUME_DISK: &str = "volume";
/// Where the image is mounted.
const IMAGE: &str = "/image";
/// Where the sockets lie that the program finds in its root.
pub(super) const GATEWAY: &str = "/gateway.sock";
/// The directory of the identity socket, in the root.
pub(super) const FLY: &str = "/root/.fly";
/// Top directories that are the sandbox's own, whatever the image has there.
const OWN: [&str; 6] = ["proc", "sys", "dev", "tmp", "run", ".fly"];
/// Of `/proc`, what speaks for the whole machine; root inside could write to it.
const FIXED: [&str; 4] = ["sys", "sysrq-trigger", "irq", "bus"];
/// Devices a program expects, by their numbers.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Makes it, but for `/sys/fs/cgroup`, which only a process in its group can mount, and the sockets.
pub(super) fn make(brief: &Brief) -> Result<(), Failed> {
    for path in [IMAGE, ROOT] {
        directory(path, 0o755)?;
    }
    let image_disk = disk(IMAGE_DISK)?;
    let still = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount(image_disk, IMAGE, "ext4", still, None).map_err(step("mounting the image"))?;
    in_memory("", "mode=0755", MountFlags::NODEV)?;
    image().map_err(step("showing the image"))?;
    proc()?;
    dev()?;
    in_memory(
        "tmp",
        &format!("mode=1777,size={}m", brief.memory_mib / 2),
        MountFlags::NODEV,
    )?;
    in_memory("run", "mode=0755,size=16m", MountFlags::NODEV)?;
    in_memory(".fly", "mode=0700,size=64k", MountFlags::NODEV)?;
    parents(Path::new("/sys/fs/cgroup/x")).map_err(step("making /sys/fs/cgroup"))?;
    if let Some(path) = &brief.volume {
        let volume_disk = disk(VOLUME_DISK)?;
        let point = inside(path);
        parents(&Path::new(path).join("x")).map_err(step(format!("making {path}")))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount(volume_disk, point, "ext4", flags, Some(c"discard"))
            .map_err(step("mounting the volume"))?;
    }
    Ok(())
}

/// Finds a disk by its serial number: their order is the kernel's business.
fn disk(serial: &str) -> Result<String, Failed> {
    let began = std::time::Instant::now();
    loop {
        let disks = fs::read_dir("/sys/block").map_err(step("looking for disks"))?;
        let found = disks.flatten().find(|disk| {
            fs::read_to_string(disk.path().join("serial")).is_ok_and(|told| told.trim() == serial)
        });
        if let Some(disk) = found {
            return Ok(format!("/dev/{}", disk.file_name().to_string_lossy()));
        }
        if began.elapsed() > DEVICES_PATIENCE {
            return Err(step(format!("there is no disk {serial}"))(io::Error::from(
                io::ErrorKind::NotFound,
            )));
        }
        thread::sleep(PAUSE);
    }
}

/// Nobody adds to `/` or to the directory of the identity socket any more.
pub(super) fn close() -> Result<(), Failed> {
    bind(GATEWAY, &inside("run/gateway.sock"))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(FLY, flags, c"mode=0700").map_err(step("closing /.fly"))?;
    mount_remount(ROOT, flags, c"mode=0755").map_err(step("closing /"))
}

/// Every top entry of the image at its place.
fn image() -> io::Result<()> {
    for entry in fs::read_dir(IMAGE)? {
        let entry = entry?;
        let (from, name) = (entry.path(), entry.file_name());
        if OWN.iter().any(|own| name == *own) || name == "lost+found" {
            continue;
        }
        let to = Path::new(ROOT).join(&name);
        if let Ok(target) = fs::read_link(&from) {
            symlink(target, &to)?;
        } else if from.is_dir() {
            fs::create_dir(&to)?;
            mount_bind_recursive(&from, &to)?;
        } else {
            fs::write(&to, [])?;
            mount_bind(&from, &to)?;
        }
    }
    Ok(())
}

fn proc() -> Result<(), Failed> {
    let point = inside("proc");
    directory(&point, 0o755)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", &point, "proc", flags, None).map_err(step("mounting /proc"))?;
    for name in FIXED {
        let path = point.join(name);
        if path.exists() {
            mount_bind(&path, &path).map_err(step(format!("covering {name}")))?;
            mount_remount(&path, flags | MountFlags::RDONLY | MountFlags::BIND, c"")
                .map_err(step(format!("covering {name}")))?;
        }
    }
    Ok(())
}

fn dev() -> Result<(), Failed> {
    in_memory("dev", "mode=0755,size=64k", MountFlags::NOEXEC)?;
    let dev = inside("dev");
    for (name, major, minor) in DEVICES {
        let path = dev.join(name);
        let node = makedev(major, minor);
        mknodat(
            CWD,
            &path,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            node,
        )
        .map_err(step(format!("making {name}")))?;
        fs::set_permissions(&path, Permissions::from_mode(0o666)).map_err(step(name))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name)).map_err(step(name))?;
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    in_memory("dev/shm", "mode=1777", flags)?;
    directory(dev.join("pts"), 0o755)?;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", dev.join("pts"), "devpts", flags, Some(options)).map_err(step("mounting pts"))
}

/// A file system in memory at a place of the root.
fn in_memory(name: &str, options: &str, flags: MountFlags) -> Result<(), Failed> {
    let point = inside(name);
    directory(&point, 0o755)?;
    let options = std::ffi::CString::new(options).map_err(io::Error::from);
    let options = options.map_err(step(name))?;
    let flags = flags | MountFlags::NOSUID;
    mount("tmpfs", point, "tmpfs", flags, Some(options.as_c_str()))
        .map_err(step(format!("mounting /{name}")))
}

/// One file of the first process's at a place of the root, where it cannot be replaced.
fn bind(from: &str, to: &Path) -> Result<(), Failed> {
    fs::write(to, []).map_err(step(from))?;
    mount_bind(from, to).map_err(step(from))
}

/// A path of the sandbox's, as the first process sees it.
pub(super) fn inside(path: &str) -> PathBuf {
    Path::new(ROOT).join(path.trim_start_matches('/'))
}

/// The directories above a path of the sandbox's.
fn parents(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(path);
    let below = parent.strip_prefix("/").unwrap_or(parent);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(Path::new(ROOT).join(below))
}

fn directory(path: impl AsRef<Path>, mode: u32) -> Result<(), Failed> {
    let path = path.as_ref();
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(step(path.display().to_string())(error))
        }
        _ => Ok(()),
    }
}
