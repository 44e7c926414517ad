//! What of the crowd can be seen on this machine: processes, mounts, loop devices, control groups, files.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Serialize;

/// By what it is known.
#[derive(Debug)]
pub(crate) struct Marks {
    /// What stands in the command line of every process of it, and of no other.
    pub(crate) word: String,
    /// The server's state directory.
    pub(crate) state: PathBuf,
    groups: String,
    files: BTreeSet<PathBuf>,
}

/// How much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Left {
    pub(crate) processes: usize,
    pub(crate) mounts: usize,
    pub(crate) loop_devices: usize,
    pub(crate) cgroups: usize,
    pub(crate) files: usize,
}

impl Left {
    /// Whether nothing is.
    pub(crate) const fn is_nothing(&self) -> bool {
        self.processes + self.mounts + self.loop_devices + self.cgroups + self.files == 0
    }
}

impl Marks {
    /// Of a server that has nothing yet: what files it has now do not count.
    pub(crate) fn of(word: String, state: PathBuf) -> Result<Self> {
        let identity = state.metadata()?;
        Ok(Self {
            word,
            groups: format!(
                "nightshift-machined-{:x}-{:x}",
                identity.dev(),
                identity.ino()
            ),
            files: files_below(&state).into_iter().collect(),
            state,
        })
    }

    /// Looks everywhere.
    pub(crate) fn look(&self) -> Left {
        Left {
            processes: processes_with(&self.word).len(),
            mounts: self.mounts(),
            loop_devices: self.loop_devices(),
            cgroups: self.cgroups(),
            files: self.files_left().len(),
        }
    }

    /// Files that were not there at first.
    pub(crate) fn files_left(&self) -> Vec<PathBuf> {
        let mut files = files_below(&self.state);
        files.retain(|file| !self.files.contains(file));
        files
    }

    /// What dies with the server: everything but groups and files, which its next life removes.
    pub(crate) fn lives(&self) -> usize {
        processes_with(&self.word).len() + self.mounts() + self.loop_devices()
    }

    /// In every mount namespace there is; each is counted once.
    fn mounts(&self) -> usize {
        let state = self.state.to_string_lossy().into_owned();
        let mut seen = BTreeSet::new();
        let mut found = 0;
        for pid in pids() {
            let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/mnt")) else {
                continue;
            };
            if seen.insert(namespace) {
                let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"));
                let mounts = mounts.unwrap_or_default();
                found += mounts.lines().filter(|line| line.contains(&state)).count();
            }
        }
        found
    }

    fn loop_devices(&self) -> usize {
        let state = self.state.to_string_lossy().into_owned();
        let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let backed = devices.filter_map(|device| {
            let file = device.path().join("loop/backing_file");
            fs::read_to_string(file).ok()
        });
        backed.filter(|file| file.contains(&state)).count()
    }

    fn cgroups(&self) -> usize {
        fn walk(directory: &Path, name: &str, inside: bool) -> usize {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            below
                .map(|entry| {
                    let ours = inside || entry.file_name().to_str() == Some(name);
                    usize::from(ours) + walk(&entry.path(), name, ours)
                })
                .sum()
        }
        walk(Path::new("/sys/fs/cgroup"), &self.groups, false)
    }
}

/// Processes with this in their command line, ours excepted.
pub(crate) fn processes_with(text: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line)
            .replace('\0', " ")
            .contains(text)
    };
    pids()
        .filter(|pid| *pid != std::process::id())
        .filter(has)
        .collect()
}

/// Of these, those whose command line begins with it: the programs themselves.
pub(crate) fn programs(text: &str) -> usize {
    let begins = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line)
            .replace('\0', " ")
            .starts_with(text)
    };
    pids().filter(begins).count()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(files_below(&path));
        }
        files.push(path);
    }
    files
}
