//! The steps that must hold before a token may enter this process.

use std::io;

use rustix::{
    mm::{MlockAllFlags, mlockall},
    process::{
        DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior,
        setrlimit,
    },
};

use crate::steps::{Step, Steps};

const UNLIMITED: Rlimit = Rlimit {
    current: None,
    maximum: None,
};
const NOTHING: Rlimit = Rlimit {
    current: Some(0),
    maximum: Some(0),
};

/// Takes the steps that cannot wait, the first of all. What did not work shows in the functions below, which ask the
/// kernel instead of trusting what was requested.
pub fn harden(leave_out: &Steps) {
    if !leave_out.has(Step::NonDumpable) {
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    if !leave_out.has(Step::NoCoreDumps) {
        let _ = setrlimit(Resource::Core, NOTHING);
    }
}

/// Asks the kernel whether nobody may look into this process.
///
/// # Errors
/// What it says instead.
pub fn non_dumpable() -> Result<String, String> {
    match dumpable_behavior() {
        Ok(DumpableBehavior::NotDumpable) => Ok("set".to_owned()),
        other => Err(format!("the kernel says {other:?}")),
    }
}

/// Asks the kernel whether a crash writes nothing.
///
/// # Errors
/// What it would write.
pub fn no_core_dumps() -> Result<String, String> {
    match getrlimit(Resource::Core).current {
        Some(0) => Ok("set".to_owned()),
        other => Err(format!("the limit is {other:?}")),
    }
}

/// Keeps this process out of the swap. Pages are locked as they are touched; where the kernel does not let us,
/// there must be no swap at all.
///
/// # Errors
/// Why it may be swapped.
pub fn no_swap() -> Result<String, String> {
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    // With a limit, memory would run out at some later allocation.
    if unlimited || setrlimit(Resource::Memlock, UNLIMITED).is_ok() {
        let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
        if mlockall(all).is_ok() {
            return Ok("memory is locked".to_owned());
        }
    }
    match std::fs::read_to_string("/proc/swaps") {
        Ok(list) if list.lines().count() <= 1 => Ok("the machine has no swap".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok("the kernel has no swap".to_owned())
        }
        Ok(_) => Err("the machine has swap and memory cannot be locked".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_was_left_out_does_not_hold() {
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
        harden(&Steps::parse("non-dumpable").unwrap());
        non_dumpable().unwrap_err();
        harden(&Steps::NONE);
        non_dumpable().unwrap();
        no_core_dumps().unwrap();
    }
}
