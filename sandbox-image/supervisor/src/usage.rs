//! What the agent has taken so far: of the disk, and of the memory where the kernel does not bound it.

use std::{ffi::CString, fs, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat, statvfs},
    io,
};

use crate::limits::Limits;

/// Directories that lie deeper than this are refused: nobody could walk or remove them any more.
const MOST_DEPTH: u32 = 128;

/// What some directories hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Allocated bytes.
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
    /// How deep they lie.
    pub depth: u32,
}

impl Usage {
    /// What is below some directories that the agent writes to. Follows no link. Stops where there are
    /// more files than `most`.
    #[must_use]
    pub fn of<'a>(directories: impl IntoIterator<Item = &'a Path>, most: u64) -> Self {
        let mut usage = Self::default();
        for directory in directories {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(open) = openat(CWD, directory, flags, Mode::empty()) {
                let _ = usage.walk(&open, 0, most);
            }
        }
        usage
    }

    fn walk(&mut self, directory: &OwnedFd, depth: u32, most: u64) -> io::Result<()> {
        self.depth = self.depth.max(depth);
        if depth > MOST_DEPTH {
            return Ok(());
        }
        let names: Vec<CString> = Dir::read_from(directory)?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_owned()))
            .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
            .take(usize::try_from(most.saturating_sub(self.files)).unwrap_or(usize::MAX) + 1)
            .collect();
        for name in names {
            if self.files > most {
                break;
            }
            // What goes away while we look takes nothing.
            let Ok(stat) = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            self.files += 1;
            self.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                if let Ok(below) = openat(directory, &name, flags, Mode::empty()) {
                    let _ = self.walk(&below, depth + 1, most);
                }
            }
        }
        Ok(())
    }

    /// Whether this is more than the agent may have. One that had too much before, and is cleaning up, may
    /// go on as long as it does not take more.
    #[must_use]
    pub fn exceeds(&self, limits: &Limits, before: &Self) -> bool {
        self.bytes > limits.disk_bytes.max(before.bytes)
            || self.files > limits.files.max(before.files)
            || self.depth > MOST_DEPTH.max(before.depth)
    }
}

/// Whether a file system has less left than must be kept free on it. A small one keeps a tenth.
#[must_use]
pub fn is_nearly_full(path: &Path) -> bool {
    statvfs(path).is_ok_and(|room| {
        let size = room.f_blocks.saturating_mul(room.f_frsize);
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        free < Limits::DISK_RESERVE_BYTES.min(size / 10)
    })
}

/// Memory of some processes that is nobody else's and no file's, in bytes. What parent and child still share
/// after a fork counts twice.
#[must_use]
pub fn memory_of(pids: &[i32]) -> u64 {
    let of = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some((kib("RssAnon:")? + kib("RssShmem:")?) * 1024)
    };
    pids.iter().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_to_is_not_counted_and_what_lies_deep_is() {
        let root = tempfile::TempDir::new().unwrap();
        let (inside, outside) = (root.path().join("in"), root.path().join("out"));
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("big"), vec![1; 1 << 20]).unwrap();
        fs::write(inside.join("a/b/small"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("way-out")).unwrap();
        let usage = Usage::of([inside.as_path()], 1_000);
        assert_eq!((usage.files, usage.depth), (4, 2));
        assert!((100_000..400_000).contains(&usage.bytes), "{usage:?}");
        assert!(Usage::of([inside.as_path()], 2).files <= 3);
    }

    #[test]
    fn whoever_had_too_much_may_only_take_less() {
        let limits = Limits::of_machine(512);
        let of = |bytes| Usage {
            bytes,
            ..Usage::default()
        };
        let most = limits.disk_bytes;
        assert!(!of(most).exceeds(&limits, &of(0)));
        assert!(of(most + 1).exceeds(&limits, &of(0)));
        assert!(!of(most + 5).exceeds(&limits, &of(most + 5)));
        assert!(of(most + 6).exceeds(&limits, &of(most + 5)));
    }

    #[test]
    fn memory_that_was_touched_counts() {
        let own = [std::process::id().cast_signed()];
        let before = memory_of(&own);
        let block = vec![1_u8; 64 << 20];
        assert!(memory_of(&own) >= before + (60 << 20), "{}", block.len());
    }
}
