//! The first process: it makes the sandbox's root, runs the program in it, and carries its sockets.

mod become_program;
mod channel;
mod ending;
mod loopback;
mod modules;
mod mounts;
mod reader;
mod root;
mod sockets;
mod streams;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    system::{RebootCommand, reboot, sethostname},
    time::{ClockId, Timespec, clock_settime},
};

use crate::wire::{Frame, Now};
use channel::Channel;

pub use modules::MODULES;

/// What the first process says when it is only asked whether it runs.
pub const UP: &str = "nightshift-guest runs";
/// The port that leads to the host.
const PORT: &str = "/dev/vport0p1";
/// Where the brief lies until the program runs; nothing of it is visible afterwards.
const BRIEF: &str = "/brief.json";
/// How long devices may take to appear.
const DEVICES_PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(2);

/// A step that failed, by what it was.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
struct Failed {
    what: String,
    source: io::Error,
}

/// Names a step for the case that it fails.
fn step<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failed {
    let what = what.into();
    move |error| Failed {
        what,
        source: error.into(),
    }
}

/// Runs as the first process of a virtual machine, or, when started by it, becomes the program. It comes back
/// only where that failed.
#[must_use]
pub fn main() -> ExitCode {
    let asked = std::env::args().nth(1);
    if asked.as_deref() == Some("become") {
        let failed = become_program::become_program();
        // Goes where the program's own words would have gone.
        let _ = writeln!(io::stderr(), "init: {failed}");
        return ExitCode::FAILURE;
    }
    let ran = if asked.as_deref() == Some("probe") {
        mounts::first().map(|()| say(UP))
    } else {
        run()
    };
    if let Err(failed) = ran {
        say(&format!("init: {failed}"));
    }
    // Also where nothing could be run: the machine's end is what its host waits for.
    rustix::fs::sync();
    let _ = reboot(RebootCommand::PowerOff);
    let _ = reboot(RebootCommand::Restart);
    ExitCode::FAILURE
}

fn run() -> Result<(), Failed> {
    mounts::first()?;
    modules::load()?;
    let port = appeared(PORT)?;
    let brief = {
        let frame = reader::next(&mut &port).map_err(step("waiting for the brief"))?;
        let Frame::Begin(brief) = frame else {
            return Err(step("the first frame is no brief")(io::Error::from(
                io::ErrorKind::InvalidData,
            )));
        };
        brief
    };
    set(&brief.now)?;
    sethostname(brief.hostname.as_bytes()).map_err(step("naming the host"))?;
    loopback::up()?;
    mounts::groups(brief.processes)?;
    root::make(&brief)?;
    let writer = port.try_clone().map_err(step("opening the port again"))?;
    let channel = Arc::new(Channel::new(writer));
    sockets::listen(&channel)?;
    let json = serde_json::to_vec(&brief).map_err(step("writing the brief"))?;
    fs::write(BRIEF, json).map_err(step("writing the brief"))?;

    let (output, input) = io::pipe().map_err(step("making a pipe"))?;
    let told = input.try_clone().map_err(step("making a pipe"))?;
    let child = Command::new("/init")
        .arg("become")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(told)
        .stderr(input)
        .spawn()
        .map_err(step("starting the program"))?;
    let printing = {
        let channel = Arc::clone(&channel);
        thread::spawn(move || streams::print(output, &channel))
    };
    channel.send(&Frame::Started);
    let (pid, speaking) = (child.id(), Arc::clone(&channel));
    thread::spawn(move || reader::follow(port, &speaking, pid));

    let exit = ending::wait(pid);
    ending::end_all();
    // Whoever wrote is gone, so this ends.
    let _ = printing.join();
    ending::release(brief.volume.as_deref());
    channel.send(&Frame::Exited(exit));
    Ok(())
}

/// Sets what does not go on while a machine does not run.
fn set(now: &Now) -> Result<(), Failed> {
    let time = Timespec {
        tv_sec: now.unix_ms / 1000,
        tv_nsec: (now.unix_ms % 1000) * 1_000_000,
    };
    clock_settime(ClockId::Realtime, time).map_err(step("setting the clock"))?;
    fs::write("/dev/urandom", &now.entropy).map_err(step("mixing in entropy"))
}

/// Opens a device, once it is there.
fn appeared(path: &str) -> Result<File, Failed> {
    let began = std::time::Instant::now();
    loop {
        match OpenOptions::new().read(true).write(true).open(path) {
            Err(_) if began.elapsed() < DEVICES_PATIENCE => thread::sleep(PAUSE),
            opened => return opened.map_err(step(format!("opening {path}"))),
        }
    }
}

/// Writes to the machine's console, which is in the host's log.
fn say(text: &str) {
    let console = Path::new("/dev/console");
    if let Ok(mut console) = OpenOptions::new().write(true).open(console) {
        let _ = writeln!(console, "{text}");
    }
}
