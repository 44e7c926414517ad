//! The program's end, and what has to be in order before the machine's.

use std::{fs, thread, time::Duration};

use rustix::{
    io::Errno,
    mount::{UnmountFlags, unmount},
    process::{WaitOptions, wait as wait_for_any},
};

use super::root;
use crate::wire::Exit;

/// Ends everything in the program's group.
const KILL: &str = "/groups/machine/cgroup.kill";
/// How often, and how far apart, the volume is tried to be released.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for the program, and for what it leaves behind until then.
pub(super) fn wait(program: u32) -> Exit {
    loop {
        match wait_for_any(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == program => {
                let signal = status.terminating_signal().map(|signal| 128 + signal);
                return Exit {
                    code: status.exit_status().or(signal).unwrap_or(1),
                    out_of_memory: ran_out_of_memory(),
                };
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => {
                return Exit {
                    code: 1,
                    out_of_memory: false,
                };
            }
        }
    }
}

/// Ends what the program left behind, and waits until it is gone.
pub(super) fn end_all() {
    // Where it fails nothing was ever in the group.
    let _ = fs::write(KILL, "1");
    while matches!(wait_for_any(WaitOptions::empty()), Ok(_) | Err(Errno::INTR)) {}
}

/// Unmounts the volume, so that its file system is as a clean end leaves it.
pub(super) fn release(volume: Option<&str>) {
    let Some(path) = volume else {
        return;
    };
    let point = root::inside(path);
    for _ in 0..TRIES {
        match unmount(&point, UnmountFlags::empty()) {
            // Name spaces of what was just ended go a moment later.
            Err(Errno::BUSY) => thread::sleep(PAUSE),
            Ok(()) | Err(_) => return,
        }
    }
    rustix::fs::sync();
}

fn ran_out_of_memory() -> bool {
    let told = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = told.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.is_some_and(|count| count.trim() != "0")
}
