//! Control groups: one per running machine, with the memory, processes and processor time it has.
//!
//! ```text
//! where we may make groups          (each controller's own hierarchy, or the one of version 2)
//! └─ nightshift-machined-DEV-INODE  one per state directory, gone when the server ends
//!    └─ MACHINE                     bounded, out of the sandbox's sight
//!       └─ sandbox                  what runs in it; root inside may make groups below
//! ```

mod group;
mod mounts;

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nightshift_machines::Guest;
use rustix::process::{Pid, Signal, kill_process};

pub(crate) use group::{Group, PROCESSES};
pub(crate) use mounts::Version;

/// What every directory of ours begins with.
const NAME: &str = "nightshift-machined-";
/// The controllers that bound a machine.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// How often, and how far apart, a group that still has processes is looked at.
const LOOKS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(10);

/// Where machines get their groups, or why they get none.
#[derive(Debug)]
pub(crate) struct Cgroups {
    home: Result<Home, String>,
    /// File that names the directories of this life, for the next one.
    record: PathBuf,
}

#[derive(Debug)]
struct Home {
    version: Version,
    directories: Vec<PathBuf>,
}

impl Cgroups {
    /// Clears what an earlier life left, and makes room for this one.
    pub(crate) fn open(state: &Path, record: PathBuf) -> Self {
        clear_recorded(&record);
        let home = Home::make(state).and_then(|home| {
            // Said before anything is in it; a kill from here on leaves nothing unknown.
            fs::write(&record, serde_json::to_vec(&home.directories)?)?;
            Ok(home)
        });
        let home = home.map_err(|error| error.to_string());
        match &home {
            Ok(home) => tracing::info!(version = home.version.name(), "machines have cgroups"),
            Err(why) => tracing::warn!(
                why,
                "machines have no cgroups: resource limits bound single processes and users, and \
                 nothing bounds a machine's memory or processor time"
            ),
        }
        Self { home, record }
    }

    /// What can be had on this host, without making anything that stays.
    pub(crate) fn probe() -> Result<Version, String> {
        let home = Home::make_named(&format!("{NAME}probe-{}", std::process::id()));
        let home = home.map_err(|error| error.to_string())?;
        let version = home.version;
        home.directories.iter().for_each(|path| remove(path));
        Ok(version)
    }

    /// Which version machines are bounded by, or why they are not.
    pub(crate) fn version(&self) -> Result<Version, &str> {
        match &self.home {
            Ok(home) => Ok(home.version),
            Err(why) => Err(why),
        }
    }

    /// A group for a machine that is about to boot; none where there are no cgroups. `owner` is the
    /// host user that is root inside, where that is not us.
    pub(crate) fn make(
        &self,
        machine: &str,
        guest: &Guest,
        owner: Option<u32>,
    ) -> io::Result<Option<Group>> {
        let Ok(home) = &self.home else {
            return Ok(None);
        };
        Group::make(home.version, &home.directories, machine, guest, owner).map(Some)
    }

    /// Removes everything; called when no machine runs any more.
    pub(crate) fn close(&self) {
        if let Ok(home) = &self.home {
            home.directories.iter().for_each(|path| remove(path));
        }
        let _ = fs::remove_file(&self.record);
    }
}

impl Home {
    fn make(state: &Path) -> io::Result<Self> {
        let state = state.metadata()?;
        Self::make_named(&format!("{NAME}{:x}-{:x}", state.dev(), state.ino()))
    }

    fn make_named(name: &str) -> io::Result<Self> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let found = mounts::find(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        let (version, parents) = found
            .ok_or_else(|| io::Error::other("no mounted hierarchy has memory, pids and cpu"))?;
        let directories = match version {
            Version::One => below_each(&parents, name)?,
            Version::Two => vec![below_nearest(&parents, name)?],
        };
        Ok(Self {
            version,
            directories,
        })
    }
}

/// Version 1: below our own group of every hierarchy.
fn below_each(parents: &[PathBuf], name: &str) -> io::Result<Vec<PathBuf>> {
    let mut made: Vec<PathBuf> = Vec::new();
    for parent in parents {
        let home = parent.join(name);
        if let Err(error) = make_directory(&home) {
            for path in &made {
                remove(path);
            }
            return Err(error);
        }
        made.push(home);
    }
    Ok(made)
}

/// Version 2: below our own group if nobody but us is in it, else below the nearest group above where groups
/// may be made. The kernel gives controllers only to groups that have no process beside them.
fn below_nearest(parents: &[PathBuf], name: &str) -> io::Result<PathBuf> {
    let mut refusal = io::Error::from(io::ErrorKind::NotFound);
    for (nth, parent) in parents.iter().enumerate() {
        let leaf = parent.join(format!("{NAME}itself"));
        let had = delegate(parent).or_else(|error| {
            let alone = fs::read_to_string(parent.join("cgroup.procs"))
                .is_ok_and(|pids| pids.trim() == std::process::id().to_string());
            if nth > 0 || !alone {
                return Err(error);
            }
            make_directory(&leaf)?;
            fs::write(leaf.join("cgroup.procs"), "0")?;
            delegate(parent)
        });
        let home = parent.join(name);
        let made = had
            .and_then(|()| make_directory(&home))
            .and_then(|()| delegate(&home));
        match made {
            Ok(()) => return Ok(home),
            Err(error) => {
                remove(&home);
                refusal = named(parent)(error);
            }
        }
    }
    Err(refusal)
}

/// Lets the groups below have the controllers.
fn delegate(group: &Path) -> io::Result<()> {
    let control = group.join("cgroup.subtree_control");
    fs::write(&control, "+memory +pids +cpu").map_err(named(&control))
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(named(path)(error)),
        _ => Ok(()),
    }
}

fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// Removes a group with all below it, and ends what still runs there.
fn remove(group: &Path) {
    for _ in 0..LOOKS {
        match remove_once(group) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                kill_in(group);
                thread::sleep(PAUSE);
            }
            Err(error) => {
                let path = group.display();
                return tracing::warn!(%error, %path, "a control group is left");
            }
        }
    }
    tracing::warn!(path = %group.display(), "a control group is left: something runs in it");
}

/// Removes a group with all below it, if nothing runs there.
fn remove_once(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_once(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

fn kill_in(group: &Path) {
    let inside = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in inside
        .lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
    {
        let _ = kill_process(pid, Signal::KILL);
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            kill_in(&entry.path());
        }
    }
}

fn clear_recorded(record: &Path) {
    let recorded: Vec<PathBuf> = fs::read(record)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let ours = |path: &&PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(NAME)) && path.join("cgroup.procs").exists()
    };
    recorded.iter().filter(ours).for_each(|path| remove(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_recorded_only_control_groups_of_ours_are_cleared() {
        let root = tempfile::tempdir().unwrap();
        let (ours, theirs) = (
            root.path().join(format!("{NAME}1-2")),
            root.path().join("x"),
        );
        for path in [&ours, &theirs] {
            fs::create_dir(path).unwrap();
            fs::create_dir(path.join("sandbox")).unwrap();
        }
        let record = root.path().join("cgroups.json");
        fs::write(&record, serde_json::to_vec(&[&ours, &theirs]).unwrap()).unwrap();
        clear_recorded(&record);
        assert!(
            ours.exists() && theirs.exists(),
            "neither is a control group"
        );
    }
}
