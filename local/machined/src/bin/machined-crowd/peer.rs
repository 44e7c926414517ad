//! The peer: as many bubblewrap sandboxes with nothing around them, started by a loop.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::leftovers::programs;

/// How it went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Until all were alive.
    pub(crate) started: Duration,
    /// Until none was.
    pub(crate) ended: Duration,
    /// Memory of each, in KiB.
    pub(crate) kib: u64,
}

/// Starts and ends them.
pub(crate) fn run(machines: usize, program: &[String]) -> Result<Peer> {
    let word = program.join(" ");
    let before = super::run::available_kib()?;
    let began = Instant::now();
    let mut crowd: Vec<Child> = Vec::with_capacity(machines);
    for _ in 0..machines {
        crowd.push(sandbox(program)?);
    }
    while programs(&word) < machines {
        ensure!(
            began.elapsed() < Duration::from_mins(5),
            "bubblewrap does not come up"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let started = began.elapsed();
    let kib = before.saturating_sub(super::run::available_kib()?) / machines.max(1) as u64;
    let began = Instant::now();
    for child in &mut crowd {
        child.kill()?;
    }
    for child in &mut crowd {
        child.wait()?;
    }
    while programs(&word) > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(Peer {
        started,
        ended: began.elapsed(),
        kib,
    })
}

fn sandbox(program: &[String]) -> Result<Child> {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-all", "--die-with-parent", "--new-session"]);
    command.args([
        "--ro-bind",
        "/usr",
        "/usr",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]);
    command.args(["--tmpfs", "/tmp", "--tmpfs", "/run"]);
    for top in ["bin", "sbin", "lib", "lib64"] {
        command.args(["--symlink", &format!("usr/{top}"), &format!("/{top}")]);
    }
    command.arg("--").args(program).stdin(Stdio::null());
    command.spawn().context("cannot start bubblewrap")
}
