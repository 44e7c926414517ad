//! One machine's control group.

use std::{
    fs, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use nightshift_machines::Guest;

use super::{CONTROLLERS, Version, delegate, make_directory, named, remove};

/// Processes and threads a machine may have, as the provider's kernel would refuse at some number too.
pub(crate) const PROCESSES: u32 = 1_024;
/// The time over which processor time is counted, in microseconds.
const PERIOD_US: u64 = 100_000;

/// The group of a machine that boots or runs. It is removed with this.
#[derive(Debug)]
pub(crate) struct Group {
    version: Version,
    /// The machine's directory in each hierarchy.
    directories: Vec<PathBuf>,
}

impl Group {
    pub(super) fn make(
        version: Version,
        homes: &[PathBuf],
        machine: &str,
        guest: &Guest,
        owner: Option<u32>,
    ) -> io::Result<Self> {
        let directories: Vec<PathBuf> = homes.iter().map(|home| home.join(machine)).collect();
        // From here on a failure removes what was made.
        let made = Self {
            version,
            directories,
        };
        for group in &made.directories {
            make_directory(group)?;
            made.bound(group, guest)?;
            if version == Version::Two {
                delegate(group)?;
            }
            let sandbox = group.join("sandbox");
            make_directory(&sandbox)?;
            // The same again where it can be seen: programs count their processors by it.
            made.bound(&sandbox, guest)?;
            if let Some(owner) = owner {
                hand_over(&sandbox, owner)?;
            }
        }
        Ok(made)
    }

    /// Writes the limits of the controllers that `group` has.
    fn bound(&self, group: &Path, guest: &Guest) -> io::Result<()> {
        let memory = (u64::from(guest.memory_mb) << 20).to_string();
        let quota = u64::from(guest.cpus.max(1)) * PERIOD_US;
        let settings = match self.version {
            Version::Two => vec![
                ("memory.max", memory),
                ("pids.max", PROCESSES.to_string()),
                ("cpu.max", format!("{quota} {PERIOD_US}")),
            ],
            Version::One => vec![
                ("memory.limit_in_bytes", memory),
                ("pids.max", PROCESSES.to_string()),
                ("cpu.cfs_period_us", PERIOD_US.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
        };
        let in_this = |file: &str| {
            let controller = file.split('.').next().unwrap_or_default();
            let at = CONTROLLERS.iter().position(|known| *known == controller);
            let parent = at.and_then(|at| self.directories.get(at));
            self.version == Version::Two || parent.is_some_and(|own| group.starts_with(own))
        };
        for (file, value) in settings.iter().filter(|(file, _)| in_this(file)) {
            let path = group.join(file);
            fs::write(&path, value).map_err(named(&path))?;
        }
        if self.version == Version::Two {
            // Absent where there is no swap accounting.
            let _ = fs::write(group.join("memory.swap.max"), "0");
        }
        Ok(())
    }

    /// Puts a process that has no children yet into the group.
    pub(crate) fn join(&self, pid: u32) -> io::Result<()> {
        for group in &self.directories {
            let procs = group.join("sandbox/cgroup.procs");
            fs::write(&procs, pid.to_string()).map_err(named(&procs))?;
        }
        Ok(())
    }

    /// What of it a sandbox sees, and where.
    pub(crate) fn views(&self) -> Vec<(PathBuf, String)> {
        let view = |(controller, group): (&&str, &PathBuf)| {
            let at = match self.version {
                Version::One => format!("/sys/fs/cgroup/{controller}"),
                Version::Two => "/sys/fs/cgroup".to_owned(),
            };
            (group.join("sandbox"), at)
        };
        CONTROLLERS
            .iter()
            .zip(&self.directories)
            .map(view)
            .collect()
    }

    /// Whether the kernel has ended a process of it for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        self.directories.first().is_some_and(|group| {
            // Version 1 counts where it happened, version 2 everywhere above it too.
            [group.clone(), group.join("sandbox")].iter().any(|group| {
                let told = fs::read_to_string(group.join(file)).unwrap_or_default();
                let count = told.lines().find_map(|line| line.strip_prefix("oom_kill "));
                count.is_some_and(|count| count.trim() != "0")
            })
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.directories.iter().for_each(|path| remove(path));
    }
}

/// Lets root inside make groups below and move its processes between them. The limits stay ours.
fn hand_over(sandbox: &Path, owner: u32) -> io::Result<()> {
    chown(sandbox, Some(owner), Some(owner)).map_err(named(sandbox))?;
    for file in [
        "cgroup.procs",
        "tasks",
        "cgroup.threads",
        "cgroup.subtree_control",
    ] {
        let path = sandbox.join(file);
        match chown(&path, Some(owner), Some(owner)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(named(&path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> Guest {
        Guest {
            cpu_kind: "shared".to_owned(),
            cpus: 2,
            memory_mb: 512,
        }
    }

    #[test]
    fn a_machine_of_version_two_is_bounded_above_what_its_sandbox_sees() {
        let home = tempfile::tempdir().unwrap();
        let homes = [home.path().to_owned()];
        let group = Group::make(Version::Two, &homes, "m", &guest(), None).unwrap();
        for path in ["m", "m/sandbox"] {
            let read = |file: &str| fs::read_to_string(home.path().join(path).join(file)).unwrap();
            assert_eq!(read("memory.max"), "536870912");
            assert_eq!(read("pids.max"), "1024");
            assert_eq!(read("cpu.max"), "200000 100000");
        }
        let control = home.path().join("m/cgroup.subtree_control");
        assert_eq!(fs::read_to_string(control).unwrap(), "+memory +pids +cpu");
        let seen = home.path().join("m/sandbox");
        assert_eq!(group.views(), [(seen.clone(), "/sys/fs/cgroup".to_owned())]);
        group.join(7).unwrap();
        assert_eq!(fs::read_to_string(seen.join("cgroup.procs")).unwrap(), "7");
        assert!(!group.ran_out_of_memory());
        fs::write(home.path().join("m/memory.events"), "oom 3\noom_kill 2\n").unwrap();
        assert!(group.ran_out_of_memory());
        // Plain directories keep their files, so this one cannot be removed as a group can.
        std::mem::forget(group);
    }

    #[test]
    fn each_controller_of_version_one_gets_its_own_limits_and_no_others() {
        let root = tempfile::tempdir().unwrap();
        let homes: Vec<PathBuf> = CONTROLLERS
            .iter()
            .map(|name| root.path().join(name))
            .collect();
        for home in &homes {
            fs::create_dir(home).unwrap();
        }
        let group = Group::make(Version::One, &homes, "m", &guest(), None).unwrap();
        let read = |file: &str| fs::read_to_string(root.path().join(file)).unwrap();
        assert_eq!(read("memory/m/memory.limit_in_bytes"), "536870912");
        assert_eq!(read("cpu/m/sandbox/cpu.cfs_quota_us"), "200000");
        assert!(!root.path().join("pids/m/memory.limit_in_bytes").exists());
        assert_eq!(group.views()[1].1, "/sys/fs/cgroup/pids");
        std::mem::forget(group);
    }
}
