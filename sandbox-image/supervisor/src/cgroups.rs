//! The agent's control groups: memory, processes and processor time of all its processes together. Either
//! version of cgroups will do; which one a machine has is its kernel's and its host's choice.

mod mounts;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mounts::{Found, Version};
use p256::elliptic_curve::rand_core::{OsRng, RngCore as _};

use crate::limits::Limits;

const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
const PERIOD_US: u64 = 100_000;
/// Of each processor's time the agent gets this many percent, so that the supervisor always gets some.
const PROCESSOR_PERCENT: u64 = 90;

/// Groups that were made for the agent and are removed with this.
#[derive(Debug)]
pub struct Cgroups {
    version: Version,
    groups: Vec<PathBuf>,
}

/// There are no groups for the agent.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No mounted hierarchy has all of memory, pids and cpu.
    #[error("no mounted hierarchy has memory, pids and cpu for this machine")]
    NotMounted,
    /// A group could not be made or bounded.
    #[error("could not write {}", .path.display())]
    Refused {
        /// Which file or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Cgroups {
    /// Makes groups with these limits below the supervisor's own.
    ///
    /// # Errors
    /// See [`CgroupError`]. Nothing is left of what was made before the failure.
    pub fn make(limits: &Limits) -> Result<Self, CgroupError> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let found = mounts::find(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        Self::below(found.ok_or(CgroupError::NotMounted)?, limits)
    }

    fn below(found: Found, limits: &Limits) -> Result<Self, CgroupError> {
        // Sandboxes that share a hierarchy may have the same process ids.
        let name = format!(
            "nightshift-agent-{}-{:08x}",
            std::process::id(),
            OsRng.next_u32()
        );
        let mut made = Self {
            version: found.version,
            groups: Vec::new(),
        };
        if found.version == Version::Two {
            delegate(&found.directories[0])?;
        }
        for parent in found.directories {
            let group = parent.join(&name);
            fs::create_dir(&group).map_err(refused(&group))?;
            made.groups.push(group);
        }
        made.bound(limits)?;
        Ok(made)
    }

    fn bound(&self, limits: &Limits) -> Result<(), CgroupError> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let quota = PERIOD_US / 100 * PROCESSOR_PERCENT * u64::try_from(processors).unwrap_or(1);
        let (memory, pids) = (
            limits.memory_bytes.to_string(),
            limits.processes.to_string(),
        );
        let settings: &[(&str, String)] = match self.version {
            Version::Two => &[
                ("memory.max", memory),
                ("memory.oom.group", "1".to_owned()),
                ("pids.max", pids),
                ("cpu.max", format!("{quota} {PERIOD_US}")),
            ],
            Version::One => &[
                ("memory.limit_in_bytes", memory),
                ("pids.max", pids),
                ("cpu.cfs_period_us", PERIOD_US.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
        };
        for (file, value) in settings {
            write(&self.file(file), value)?;
        }
        if self.version == Version::Two {
            // Absent where there is no swap accounting.
            let _ = fs::write(self.file("memory.swap.max"), "0");
        }
        Ok(())
    }

    /// The groups that a process of the agent's must join, by [`join`], before it gives up its privileges.
    #[must_use]
    pub fn groups(&self) -> &[PathBuf] {
        &self.groups
    }

    /// Which version of cgroups it is, in words.
    #[must_use]
    pub const fn version(&self) -> &'static str {
        match self.version {
            Version::One => "cgroups v1",
            Version::Two => "cgroups v2",
        }
    }

    /// How often the kernel has ended a process of the agent's for want of memory.
    #[must_use]
    pub fn ended_for_memory(&self) -> u64 {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let told = fs::read_to_string(self.file(file)).unwrap_or_default();
        let count = told.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Each file is in the group whose hierarchy has its controller.
    fn file(&self, name: &str) -> PathBuf {
        let controller = name.split('.').next().unwrap_or_default();
        let index = match self.version {
            Version::One => CONTROLLERS.iter().position(|known| *known == controller),
            Version::Two => None,
        };
        let group = self.groups.get(index.unwrap_or(0));
        group.map_or_else(PathBuf::new, |group| group.join(name))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for group in &self.groups {
            // Not possible while a process is in it; the machine's end takes it then.
            let _ = fs::remove_dir(group);
        }
    }
}

/// Moves the calling process into a group.
///
/// # Errors
/// The kernel's refusal.
pub fn join(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
}

/// Lets groups below `own` have controllers. The kernel allows that only where no process stands in `own`
/// itself, unless that is the root; so whoever is there moves into a leaf.
fn delegate(own: &Path) -> Result<(), CgroupError> {
    let control = own.join("cgroup.subtree_control");
    let all = "+memory +pids +cpu";
    match fs::write(&control, all) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
        other => return other.map_err(refused(&control)),
    }
    let leaf = own.join("nightshift-supervisor");
    let procs = own.join("cgroup.procs");
    fs::create_dir_all(&leaf).map_err(refused(&leaf))?;
    let inside = fs::read_to_string(&procs).map_err(refused(&procs))?;
    for pid in inside.lines() {
        // One that has ended meanwhile is no loss.
        let _ = fs::write(leaf.join("cgroup.procs"), pid);
    }
    write(&control, all)
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    fs::write(path, value).map_err(refused(path))
}

fn refused(path: &Path) -> impl Fn(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError::Refused {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_version_two_is_bounded_in_everything_and_removed() {
        let root = tempfile::TempDir::new().unwrap();
        let found = Found {
            version: Version::Two,
            directories: vec![root.path().to_owned()],
        };
        let made = Cgroups::below(found, &Limits::of_machine(400)).unwrap();
        let group = made.groups()[0].clone();
        let read = |name: &str| fs::read_to_string(group.join(name)).unwrap();
        assert_eq!(read("memory.max"), (300 * 1024 * 1024).to_string());
        assert_eq!(read("pids.max"), "512");
        assert!(read("cpu.max").ends_with("0000 100000"));
        let delegated = fs::read_to_string(root.path().join("cgroup.subtree_control"));
        assert_eq!(delegated.unwrap(), "+memory +pids +cpu");
        fs::write(group.join("memory.events"), "oom 3\noom_kill 2\n").unwrap();
        assert_eq!(made.ended_for_memory(), 2);
    }
}
