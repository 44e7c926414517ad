//! The sandbox around QEMU: its program and its libraries, and nothing else of the host. Whoever breaks
//! out of the virtual machine is nobody in there, without a network.

use std::{ffi::OsString, fs, path::Path};

use super::{Accelerator, Qemu};

/// bubblewrap's arguments, up to the program.
pub(super) fn arguments(qemu: &Qemu, mapped_from_outside: bool) -> Vec<OsString> {
    let mut told: Vec<OsString> = Vec::new();
    let mut say = |words: &[&str]| told.extend(words.iter().map(OsString::from));
    say(&[
        "--unshare-user",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
    ]);
    say(&["--unshare-uts", "--unshare-cgroup-try"]);
    say(&["--die-with-parent", "--new-session"]);
    if mapped_from_outside {
        say(&["--userns-block-fd", "0"]);
    } else {
        let go = crate::sandbox::GO_FD.to_string();
        say(&["--uid", "0", "--gid", "0", "--block-fd", &go]);
    }
    say(&["--clearenv", "--chdir", "/", "--ro-bind", "/usr", "/usr"]);
    for name in ["bin", "sbin", "lib", "lib64"] {
        let top = Path::new("/").join(name);
        let top = top.to_string_lossy();
        match fs::read_link(&*top) {
            Ok(target) => say(&["--symlink", &target.to_string_lossy(), &top]),
            // A host that still keeps them apart from /usr.
            Err(_) => say(&["--ro-bind-try", &top, &top]),
        }
    }
    for bit in ["/etc/ld.so.cache", "/etc/alternatives"] {
        say(&["--ro-bind-try", bit, bit]);
    }
    say(&["--proc", "/proc", "--dev", "/dev"]);
    if qemu.accelerator == Accelerator::Kvm {
        say(&["--dev-bind", "/dev/kvm", "/dev/kvm"]);
    }
    say(&["--size", "16777216", "--tmpfs", "/tmp"]);
    say(&["--remount-ro", "/"]);
    told
}
