//! Which accelerator there is, found out by booting a guest: that `/dev/kvm` can be opened proves nothing.

use std::{
    fs,
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Accelerator, Qemu, QemuError, command};

/// How long a guest may take to run its first process.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);
/// What the first process says when it is asked for nothing more.
const UP: &str = nightshift_guest::init::UP;
/// Where the kernel names this start of the host, for which an outcome holds.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What to use, as chosen or found out.
pub(super) fn choose(qemu: &Qemu) -> Result<Accelerator, QemuError> {
    match qemu.accelerator {
        Accelerator::Tcg => Ok(Accelerator::Tcg),
        Accelerator::Kvm => match boots(qemu) {
            Ok(()) => Ok(Accelerator::Kvm),
            Err(why) => Err(QemuError::NoKvm(why)),
        },
        Accelerator::Auto => Ok(found_out(qemu)),
    }
}

/// Asks once for each start of the host: a probe that fails takes its whole time.
fn found_out(qemu: &Qemu) -> Accelerator {
    let place = qemu.disks.join("accelerator");
    let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
    let before = fs::read_to_string(&place).unwrap_or_default();
    if let Some(found) = before.strip_prefix(&boot).filter(|_| !boot.is_empty()) {
        return if found == "kvm" {
            Accelerator::Kvm
        } else {
            Accelerator::Tcg
        };
    }
    let found = match boots(qemu) {
        Ok(()) => Accelerator::Kvm,
        Err(why) => {
            tracing::warn!(
                why,
                "no guest boots on the processor: software emulation, which is slow"
            );
            Accelerator::Tcg
        }
    };
    let word = if found == Accelerator::Kvm {
        "kvm"
    } else {
        "tcg"
    };
    if let Err(error) = fs::write(&place, format!("{boot}{word}")) {
        tracing::warn!(%error, "the outcome is not kept, and is found out again next time");
    }
    found
}

/// Boots a guest on the processor, in time.
fn boots(qemu: &Qemu) -> Result<(), String> {
    if !std::path::Path::new("/dev/kvm").exists() {
        return Err("there is no /dev/kvm".to_owned());
    }
    let mut child = start(qemu).map_err(|error| format!("QEMU did not start: {error}"))?;
    let began = Instant::now();
    let outcome = loop {
        match child.try_wait() {
            Ok(Some(_)) => break said(&mut child),
            Ok(None) if began.elapsed() < PATIENCE => thread::sleep(PAUSE),
            Ok(None) => break Err(format!("none within {} s", PATIENCE.as_secs())),
            Err(error) => break Err(error.to_string()),
        }
    };
    // It leads a group of its own, so this ends what stands between us and it too.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    outcome
}

fn start(qemu: &Qemu) -> io::Result<Child> {
    let words = command::probe(&Qemu {
        accelerator: Accelerator::Kvm,
        disks: qemu.disks.clone(),
        initramfs: qemu.initramfs.clone(),
        kernel: qemu.kernel.clone(),
        making: std::sync::Mutex::default(),
        boots: tokio::sync::Semaphore::new(0),
        program: qemu.program,
    });
    let place = |word: String| {
        let here = [
            (command::KERNEL_FD, &qemu.kernel),
            (command::INITRAMFS_FD, &qemu.initramfs),
        ];
        let named = here
            .into_iter()
            .find(|(fd, _)| word == format!("/proc/self/fd/{fd}"));
        named.map_or(word, |(_, path)| path.display().to_string())
    };
    let words: Vec<String> = words.into_iter().map(place).collect();
    Command::new(&words[0])
        .args(&words[1..])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

fn said(child: &mut Child) -> Result<(), String> {
    let mut told = String::new();
    if let Some(stdout) = &mut child.stdout {
        let _ = stdout.read_to_string(&mut told);
    }
    if told.contains(UP) {
        return Ok(());
    }
    if let Some(stderr) = &mut child.stderr {
        let _ = stderr.read_to_string(&mut told);
    }
    Err(format!("QEMU ended: {}", told.trim()))
}
