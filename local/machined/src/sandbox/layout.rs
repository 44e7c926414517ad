//! What bubblewrap is told: the sandbox's filesystem, namespaces and environment.

use nightshift_controls::{Control, holds};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use crate::images::{Base, Image};

/// Where sandboxed programs are looked for unless the image or the machine says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Top directories that are the sandbox's own, whatever the image has there.
const OWN: [&str; 6] = ["proc", "sys", "dev", "tmp", "run", ".fly"];
/// What root inside may do: become other users and look after their files. It may not mount,
/// trace, or touch the network's set-up.
const CAPABILITIES: [&str; 8] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
];

/// What one sandbox is made of.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    pub(crate) image: &'a Image,
    /// The machine's own environment.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// What the platform says: `FLY_…` and the like. It wins.
    pub(crate) platform_env: &'a BTreeMap<String, String>,
    /// Directory with the identity socket `api` in it.
    pub(crate) fly: &'a Path,
    /// The gateway's socket.
    pub(crate) gateway: &'a Path,
    /// The volume's files, and where they appear.
    pub(crate) volume: Option<(&'a Path, &'a str)>,
    /// Its control groups, and where they appear.
    pub(crate) groups: &'a [(PathBuf, String)],
    /// Memory the machine has, in MB; `/tmp` may take half of it.
    pub(crate) memory_mb: u32,
    /// Whether bubblewrap waits for us before it maps its users; else before it runs the program.
    pub(crate) mapped_from_outside: bool,
}

impl Layout<'_> {
    /// bubblewrap's arguments, up to the program.
    pub(crate) fn arguments(&self) -> io::Result<Vec<OsString>> {
        let mut told = Told::default();
        for flag in [
            "--unshare-user",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--die-with-parent",
            "--new-session",
            "--clearenv",
        ] {
            told.say([flag]);
        }
        if holds(Control::SandboxNetwork) {
            told.say(["--unshare-net"]);
        }
        if self.mapped_from_outside {
            told.say(["--userns-block-fd", "0"]);
        } else {
            told.say(["--uid", "0"]).say(["--gid", "0"]);
            told.say(["--block-fd", &super::process::GO_FD.to_string()]);
        }
        for capability in CAPABILITIES {
            told.say(["--cap-add", capability]);
        }
        told.say(["--chdir", "/"]);
        for (name, value) in self.environment() {
            told.say(["--setenv", &name, &value]);
        }
        self.root(&mut told)?;
        told.say(["--proc", "/proc"]).say(["--dev", "/dev"]);
        let tmp_bytes = (u64::from(self.memory_mb) << 19).to_string();
        told.say(["--perms", "1777"])
            .say(["--size", &tmp_bytes])
            .say(["--tmpfs", "/tmp"]);
        told.say(["--perms", "0755"])
            .say(["--size", "16777216"])
            .say(["--tmpfs", "/run"]);
        told.bind("--ro-bind", self.fly, "/.fly");
        told.bind("--ro-bind", self.gateway, "/run/gateway.sock");
        if let Some((files, path)) = self.volume {
            told.parents(Path::new(path));
            told.bind("--bind", files, path);
        }
        for (group, path) in self.groups {
            told.parents(Path::new(path));
            told.bind("--bind", group, path);
        }
        told.say(["--remount-ro", "/"]);
        Ok(told.0)
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
        for layer in [&self.image.manifest.env, self.env, self.platform_env] {
            env.extend(layer.clone());
        }
        env
    }

    fn root(&self, told: &mut Told) -> io::Result<()> {
        if self.image.manifest.base == Base::HostUsr {
            told.bind("--ro-bind", Path::new("/usr"), "/usr");
            for name in ["bin", "sbin", "lib", "lib64"] {
                let top = Path::new("/").join(name);
                match fs::read_link(&top) {
                    Ok(target) => told.link(&target, &top),
                    // A host that still keeps them apart from /usr.
                    Err(_) if top.is_dir() => told.bind("--ro-bind", &top, &top),
                    Err(_) => {}
                }
            }
            told.directory(Path::new("/etc"));
            for bit in ["/etc/ld.so.cache", "/etc/alternatives"] {
                told.bind("--ro-bind-try", Path::new(bit), bit);
            }
        }
        for entry in fs::read_dir(&self.image.rootfs)? {
            let (from, name) = { entry.map(|entry| (entry.path(), entry.file_name()))? };
            if OWN.iter().any(|own| name == *own) {
                continue;
            }
            let to = Path::new("/").join(&name);
            if name == "etc" && self.image.manifest.base == Base::HostUsr {
                for entry in fs::read_dir(&from)? {
                    let entry = entry?;
                    told.bind("--ro-bind", &entry.path(), to.join(entry.file_name()));
                }
            } else if let Ok(target) = fs::read_link(&from) {
                told.link(&target, &to);
            } else {
                told.bind("--ro-bind", &from, &to);
            }
        }
        Ok(())
    }
}

/// Arguments so far.
#[derive(Debug, Default)]
struct Told(Vec<OsString>);

impl Told {
    fn say<const N: usize>(&mut self, words: [&str; N]) -> &mut Self {
        self.0.extend(words.map(OsString::from));
        self
    }

    fn bind(&mut self, how: &str, from: &Path, to: impl AsRef<OsStr>) {
        self.0.extend([how.into(), from.into(), to.as_ref().into()]);
    }

    /// Said aloud, because directories made by the way are closed to all but root inside.
    fn directory(&mut self, path: &Path) {
        if path != Path::new("/") {
            self.say(["--perms", "0755"])
                .0
                .extend(["--dir".into(), path.into()]);
        }
    }

    /// The directories above `path`.
    fn parents(&mut self, path: &Path) {
        let parents: Vec<&Path> = path.ancestors().skip(1).collect();
        for parent in parents.into_iter().rev() {
            self.directory(parent);
        }
    }

    fn link(&mut self, target: &Path, at: &Path) {
        self.bind("--symlink", target, at);
    }
}
