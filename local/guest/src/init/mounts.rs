//! What the first process itself needs to see, and the group that the program will be in.

use std::{fs, io};

use rustix::mount::{MountFlags, mount};

use super::{Failed, step};

/// Where the first process sees control groups.
const GROUPS: &str = "/groups";
/// The group with the machine's bounds. What it holds sees only what is below.
pub(super) const GROUP: &str = "/groups/machine/sandbox/cgroup.procs";

/// The kernel's own file systems.
pub(super) fn first() -> Result<(), Failed> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    for (point, kind) in [
        ("/dev", "devtmpfs"),
        ("/proc", "proc"),
        ("/sys", "sysfs"),
        (GROUPS, "cgroup2"),
    ] {
        match fs::create_dir(point) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(step(point)(error));
            }
            _ => {}
        }
        // Whoever is in a group cannot change the bounds of it that he sees.
        let options = (kind == "cgroup2").then_some(c"nsdelegate");
        mount(kind, point, kind, flags, options).map_err(step(format!("mounting {point}")))?;
    }
    Ok(())
}

/// The group that bounds how many processes there may be; memory and processors are the machine's own.
pub(super) fn groups(processes: u32) -> Result<(), Failed> {
    // Memory that is asked for is given, and who takes too much of it is ended, as in a group of the host.
    let overcommit = "/proc/sys/vm/overcommit_memory";
    fs::write(overcommit, "1").map_err(step(overcommit))?;
    let write = |file: &str, text: &str| {
        let path = format!("{GROUPS}/{file}");
        fs::write(&path, text).map_err(step(path))
    };
    let make = |name: &str| {
        let path = format!("{GROUPS}/{name}");
        fs::create_dir(&path).map_err(step(path))
    };
    let controllers = "+memory +pids +cpu";
    write("cgroup.subtree_control", controllers)?;
    make("machine")?;
    write("machine/pids.max", &processes.to_string())?;
    write("machine/cgroup.subtree_control", controllers)?;
    make("machine/sandbox")?;
    // The same again where it can be seen.
    write("machine/sandbox/pids.max", &processes.to_string())
}
