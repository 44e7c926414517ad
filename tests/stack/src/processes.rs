//! The processes of this machine, as `/proc` shows them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its executable.
    pub program: PathBuf,
    /// Its command line, words apart by blanks.
    pub line: String,
    parent: u32,
}

impl Process {
    /// The executable's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.program
            .file_name()
            .and_then(std::ffi::OsStr::to_str)
            .unwrap_or_default()
    }
}

/// The living processes that `parent` started.
#[must_use]
pub fn children_of(parent: u32) -> Vec<Process> {
    all()
        .into_iter()
        .filter(|process| process.parent == parent)
        .collect()
}

/// Sends a signal. A process that is gone is no error: that is a race that nobody can win.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("not a process id")?;
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("the signal was refused"),
    }
}

/// Every process that lives; what is dead and not yet waited for does not count.
pub(crate) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc")
        .map(|entries| entries.flatten().collect())
        .unwrap_or(vec![]);
    entries
        .iter()
        .filter_map(|entry| read(&entry.path()))
        .collect()
}

fn read(folder: &Path) -> Option<Process> {
    let pid = folder.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let line = fs::read(folder.join("cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let program = fs::read_link(folder.join("exe")).unwrap_or_default();
    Some(Process {
        pid,
        program,
        line,
        parent,
    })
}
