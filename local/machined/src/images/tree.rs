//! Writing a tree that cannot be left: each step of a path is a directory that is opened beneath the
//! one before, never a link.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, futimens,
        linkat, mkdirat, openat, statat, symlinkat, utimensat,
    },
    io::Errno,
};

/// An image's root filesystem that is being written, with nobody else in it.
///
/// All of it belongs to whoever writes it: sandboxes have users of their own.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    bytes_left: u64,
    /// What the current layer has written.
    fresh: BTreeSet<PathBuf>,
    /// Given to directories at the end, when nothing is written into them any more.
    directories: BTreeMap<PathBuf, Meta>,
}

/// What an entry says beside its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    pub(super) mode: u32,
    /// Since 1970.
    pub(super) seconds: u64,
}

/// Why something is not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritten {
    #[error("goes through a link or a file")]
    ThroughLink,
    #[error("is a hard link to something that is no file of the image")]
    NoFile,
    #[error("makes the image larger than an image may be")]
    TooLarge,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for Unwritten {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOTDIR | Errno::LOOP => Self::ThroughLink,
            other => Self::Io(other.into()),
        }
    }
}

impl Meta {
    fn permissions(self) -> Mode {
        Mode::from_raw_mode(self.mode & 0o1777)
    }

    fn times(self) -> Timestamps {
        let tv_sec = i64::try_from(self.seconds).unwrap_or(i64::MAX);
        Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec { tv_sec, tv_nsec: 0 },
        }
    }
}

impl Tree {
    /// Opens an empty directory, into which `bytes_max` of files may be written.
    pub(super) fn open(root: &Path, bytes_max: u64) -> Result<Self, Unwritten> {
        Ok(Self {
            root: openat(CWD, root, directory_flags(), Mode::empty())?,
            bytes_left: bytes_max,
            fresh: BTreeSet::new(),
            directories: BTreeMap::new(),
        })
    }

    /// A directory; one that is there keeps what is in it.
    pub(super) fn directory(&mut self, path: &Path, meta: Meta) -> Result<(), Unwritten> {
        let (parent, name) = self.parent(path)?;
        if kind_at(&parent, name)? != Some(FileType::Directory) {
            self.clear(&parent, name, path)?;
            mkdirat(&parent, name, Mode::RWXU)?;
        }
        self.directories.insert(path.to_owned(), meta);
        self.fresh.insert(path.to_owned());
        Ok(())
    }

    /// A file of `bytes`, from `content`.
    pub(super) fn file(
        &mut self,
        path: &Path,
        meta: Meta,
        bytes: u64,
        content: &mut impl Read,
    ) -> Result<(), Unwritten> {
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.ok_or(Unwritten::TooLarge)?;
        let (parent, name) = self.parent(path)?;
        self.clear(&parent, name, path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&parent, name, flags, Mode::RUSR | Mode::WUSR)?);
        io::copy(&mut content.take(bytes), &mut file)?;
        fchmod(&file, meta.permissions())?;
        futimens(&file, &meta.times())?;
        self.fresh.insert(path.to_owned());
        Ok(())
    }

    /// A symbolic link, to wherever it likes: it is followed inside the sandbox only.
    pub(super) fn link(&mut self, path: &Path, target: &Path, meta: Meta) -> Result<(), Unwritten> {
        let (parent, name) = self.parent(path)?;
        self.clear(&parent, name, path)?;
        symlinkat(target, &parent, name)?;
        utimensat(&parent, name, &meta.times(), AtFlags::SYMLINK_NOFOLLOW)?;
        self.fresh.insert(path.to_owned());
        Ok(())
    }

    /// A second name for a file that is there; anything else is refused.
    pub(super) fn hard_link(&mut self, path: &Path, target: &Path) -> Result<(), Unwritten> {
        if target.as_os_str().is_empty() || path == target {
            return Err(Unwritten::NoFile);
        }
        let (from, file) = self.parent(target)?;
        if kind_at(&from, file)? != Some(FileType::RegularFile) {
            return Err(Unwritten::NoFile);
        }
        let (parent, name) = self.parent(path)?;
        self.clear(&parent, name, path)?;
        linkat(&from, file, &parent, name, AtFlags::empty())?;
        self.fresh.insert(path.to_owned());
        Ok(())
    }

    /// Removes what lower layers have at a path; what this layer wrote stays.
    pub(super) fn hide(&mut self, path: &Path) -> Result<(), Unwritten> {
        let (parent, name) = self.parent(path)?;
        if !self.has_fresh(path) {
            self.clear(&parent, name, path)?;
        } else if kind_at(&parent, name)? == Some(FileType::Directory) {
            self.hide_below(path)?;
        }
        Ok(())
    }

    /// Removes what lower layers have in a directory; what this layer wrote stays.
    pub(super) fn hide_below(&mut self, path: &Path) -> Result<(), Unwritten> {
        let directory = self.walk(path)?;
        for entry in fs::read_dir(through(&directory))? {
            self.hide(&path.join(entry?.file_name()))?;
        }
        Ok(())
    }

    /// What follows is another layer's.
    pub(super) fn end_layer(&mut self) {
        self.fresh.clear();
    }

    /// Gives directories their modes and times, the deepest first: the way there stays open.
    pub(super) fn finish(self) -> Result<(), Unwritten> {
        let others = if rustix::process::geteuid().is_root() {
            Mode::empty()
        } else {
            // Who is not root could not remove it again.
            Mode::RWXU
        };
        for (path, meta) in self.directories.iter().rev() {
            let directory = self.walk(path)?;
            fchmod(&directory, meta.permissions() | others)?;
            futimens(&directory, &meta.times())?;
        }
        Ok(())
    }

    /// The directory above a path, and the last step's name.
    fn parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr), Unwritten> {
        let name = path.file_name().ok_or(Unwritten::ThroughLink)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.walk(parent)?, name))
    }

    /// Whether the current layer wrote it, or something below it: that follows it in the order.
    fn has_fresh(&self, path: &Path) -> bool {
        let next = self.fresh.range(path.to_owned()..).next();
        next.is_some_and(|fresh| fresh.starts_with(path))
    }

    /// Opens a directory step by step. Those that no entry spoke of are made.
    fn walk(&self, path: &Path) -> Result<OwnedFd, Unwritten> {
        let mut at = openat(&self.root, ".", directory_flags(), Mode::empty())?;
        for name in path {
            at = match openat(&at, name, directory_flags(), Mode::empty()) {
                Err(Errno::NOENT) => {
                    mkdirat(&at, name, Mode::RWXU)?;
                    let made = openat(&at, name, directory_flags(), Mode::empty())?;
                    fchmod(&made, Mode::from_raw_mode(0o755))?;
                    made
                }
                opened => opened?,
            };
        }
        Ok(at)
    }

    /// Makes room for an entry.
    fn clear(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), Unwritten> {
        let place = through(parent).join(name);
        match kind_at(parent, name)? {
            None => Ok(()),
            Some(FileType::Directory) => {
                self.directories.retain(|known, _| !known.starts_with(path));
                // It follows no links.
                Ok(fs::remove_dir_all(place)?)
            }
            Some(_) => Ok(fs::remove_file(place)?),
        }
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// What is there, if anything; a link is a link.
fn kind_at(parent: &OwnedFd, name: &OsStr) -> Result<Option<FileType>, Unwritten> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(FileType::from_raw_mode(found.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The directory behind a descriptor, for what only takes paths.
fn through(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}
