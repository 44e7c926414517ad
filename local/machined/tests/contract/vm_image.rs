//! Which backend the suite runs against, and for virtual machines an image that needs no host: the same
//! programs that the tests' scripts call, with what they link.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

/// A machine's first process; machined looks for it beside itself.
const GUEST: &str = "nightshift-guest";
/// What the scripts call.
const PROGRAMS: [&str; 36] = [
    "bash", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "echo", "env", "false",
    "grep", "head", "id", "ln", "ls", "mkdir", "mknod", "mount", "mv", "perl", "ps", "rm", "sed",
    "setpriv", "setsid", "sh", "sleep", "sort", "stat", "sync", "tail", "touch", "tr", "true",
];
/// Those that are only on some machines, or needed by one test.
const MORE: [&str; 12] = [
    "fallocate",
    "wc",
    "uname",
    "test",
    "nproc",
    "seq",
    "tee",
    "kill",
    "unshare",
    "find",
    "xargs",
    "printf",
];

/// Whether machines are virtual ones, as whoever runs the tests chose.
pub(crate) fn is_qemu() -> bool {
    variable("MACHINED_CONTRACT_BACKEND").as_deref() == Some("qemu")
}

/// What machined is told for it. The accelerator is chosen here: finding out takes ten seconds where there
/// is none. `elsewhere` is where a user finds the kernel and the first process who may not go where they lie.
pub(crate) fn arguments(elsewhere: Option<&Path>) -> Vec<String> {
    if !is_qemu() {
        return vec![];
    }
    let mut kernel = PathBuf::from(variable("MACHINED_CONTRACT_KERNEL").unwrap());
    if let Some(directory) = elsewhere {
        let copy = directory.join("kernel");
        if !copy.exists() {
            copy_tree(&kernel, &copy);
            let built = Path::new(env!("CARGO_BIN_EXE_machined")).with_file_name(GUEST);
            fs::copy(built, directory.join(GUEST)).unwrap();
        }
        kernel = copy;
    }
    let accelerator = variable("MACHINED_CONTRACT_ACCELERATOR");
    [
        "--backend",
        "qemu",
        "--kernel",
        &kernel.display().to_string(),
        "--accelerator",
        &accelerator.unwrap_or_else(|| "tcg".to_owned()),
    ]
    .map(str::to_owned)
    .into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "which backend is tried is chosen for the whole suite"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Gives an image that stands on nothing the programs of this machine.
pub(crate) fn fill(image: &Path) {
    let root = image.join("rootfs");
    for (name, target) in [
        ("bin", "usr/bin"),
        ("sbin", "usr/sbin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
    ] {
        fs::create_dir_all(root.join(target)).unwrap();
        symlink(target, root.join(name)).unwrap();
    }
    fs::create_dir(root.join("etc/alternatives")).unwrap();
    fs::write(root.join("etc/ld.so.cache"), []).unwrap();
    let mut libraries = BTreeSet::new();
    for program in PROGRAMS.iter().chain(&MORE) {
        let Some(path) = ["/usr/bin", "/bin", "/usr/sbin"]
            .map(|folder| Path::new(folder).join(program))
            .into_iter()
            .find(|path| path.exists())
        else {
            assert!(MORE.contains(program), "{program} is not on this machine");
            continue;
        };
        fs::copy(&path, root.join("usr/bin").join(program)).unwrap();
        libraries.extend(linked(&path));
    }
    for library in libraries {
        let to = root.join(library.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&library, to).unwrap();
    }
    let modules = Path::new("/usr/lib/x86_64-linux-gnu/perl-base");
    copy_tree(modules, &root.join(modules.strip_prefix("/").unwrap()));
}

/// The libraries that the loader finds for a program.
fn linked(program: &Path) -> BTreeSet<PathBuf> {
    let said = Command::new("ldd").arg(program).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let words = said.split_whitespace();
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
