//! Sandboxes of a previous life of this server, which should have died with it.

use std::{fs, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::record::MachineRecord;

/// How often, and how far apart, the dying are looked for.
const LOOKS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(10);

/// Kills what is left of these machines, and waits until it is gone.
///
/// bubblewrap dies with its parent by itself, but for a moment at its start.
pub(crate) fn kill(machines: &[MachineRecord]) {
    for _ in 0..LOOKS {
        let left = left_of(machines);
        if left.is_empty() {
            return;
        }
        for pid in left {
            tracing::warn!(
                pid = pid.as_raw_nonzero(),
                "killing what an earlier life left"
            );
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(PAUSE);
    }
}

fn left_of(machines: &[MachineRecord]) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return vec![];
    };
    let pids = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw);
    pids.filter(|&pid| belongs(pid, machines)).collect()
}

/// bubblewrap, inside and outside, was told the machine's id as its host name; so were the programs that
/// become it.
fn belongs(pid: Pid, machines: &[MachineRecord]) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
    let hostname = words.iter().position(|word| *word == b"--hostname");
    let Some(id) = hostname.and_then(|at| words.get(at + 1)) else {
        return false;
    };
    let mut before = words.iter().take(hostname.unwrap_or_default());
    let started_here = before.any(|word| word.ends_with(b"bwrap"));
    started_here && machines.iter().any(|machine| machine.id.as_bytes() == *id)
}
