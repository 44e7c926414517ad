//! How much the agent's commands may take of the machine.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// Bounds on the agent's commands together, and on one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all its processes, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// What its files may take, in bytes.
    pub disk_bytes: u64,
    /// How many files and directories it may have.
    pub files: u64,
    /// What a command may write to both of its outputs before it is ended, in bytes.
    pub output_bytes: u64,
    /// From the supervisor's start to the machine's own end, whatever happens.
    pub deadline: Duration,
}

impl Limits {
    /// What is left of the disk, at least, so that the session can still be written: in bytes.
    pub const DISK_RESERVE_BYTES: u64 = 64 * MIB;

    /// Limits for a machine with so much memory, in MiB: the agent gets three quarters of it.
    #[must_use]
    pub const fn of_machine(memory_mib: u64) -> Self {
        let quarter = memory_mib / 4;
        Self {
            memory_bytes: quarter * 3 * MIB,
            processes: 512,
            disk_bytes: 512 * MIB,
            files: 100_000,
            output_bytes: 64 * MIB,
            deadline: Duration::from_hours(4),
        }
    }

    /// The address space that one process may have where only single processes can be bounded. More than
    /// the memory, because programs reserve what they never use.
    #[must_use]
    pub const fn address_bytes(&self, together: bool) -> u64 {
        let enough = 8 * 1024 * MIB;
        let twice = self.memory_bytes * 2;
        if together || twice > enough {
            enough
        } else if twice < 1024 * MIB {
            1024 * MIB
        } else {
            twice
        }
    }
}

/// The machine's memory in MiB, as the kernel tells it.
#[must_use]
pub fn memory_mib() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}
