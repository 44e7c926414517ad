//! The program inside a sandbox, seen from outside: where to send a signal.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to the program a sandbox was started for. False if there is none yet.
///
/// bubblewrap's own first process stands above it and cannot pass a signal on.
pub(crate) fn signal(init: Pid, signal: Signal) -> bool {
    let init = init.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children"));
    let first = children
        .ok()
        .and_then(|list| list.split_whitespace().next()?.parse().ok());
    let Some(entry) = first.and_then(Pid::from_raw) else {
        return false;
    };
    kill_process(entry, signal).is_ok()
}

/// A signal by its name, as the API spells it.
pub(crate) fn by_name(name: &str) -> Option<Signal> {
    match name.trim_start_matches("SIG") {
        "HUP" => Some(Signal::HUP),
        "INT" => Some(Signal::INT),
        "QUIT" => Some(Signal::QUIT),
        "KILL" => Some(Signal::KILL),
        "USR1" => Some(Signal::USR1),
        "USR2" => Some(Signal::USR2),
        "TERM" => Some(Signal::TERM),
        _ => None,
    }
}
