//! A machine's surroundings, and the supervisor started in them.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use chrono::DateTime;
use nightshift_domain::{InvestigationId, alert::Severity};
use nightshift_protocol::{
    Brief,
    brief::{Endpoints, Limits},
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
};

use crate::{
    platform::{self, Shared},
    probe::Action,
};

pub(crate) struct World {
    pub(crate) platform: Shared,
    /// Steps that the supervisor is to leave out.
    pub(crate) without: String,
    /// Further variables of its environment.
    pub(crate) told: Vec<(&'static str, String)>,
    pub(crate) directory: TempDir,
    serving: Vec<JoinHandle<()>>,
    _turn: fs::File,
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
        forget_groups();
    }
}

/// Removes control groups of supervisors that were killed, which here nobody else does.
fn forget_groups() {
    for hierarchy in fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        for group in fs::read_dir(hierarchy.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = group.file_name().to_string_lossy().into_owned();
            let pid = name
                .strip_prefix("nightshift-agent-")
                .and_then(|name| name.split('-').next());
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_dir(group.path());
            }
        }
    }
}

/// The agents of all tests have one user, and its processes are counted together. So whoever makes very many
/// has the machine alone.
fn turn(alone: bool) -> fs::File {
    let file = fs::File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("turn")).unwrap();
    if alone {
        file.lock().unwrap();
    } else {
        file.lock_shared().unwrap();
    }
    file
}

/// An ordinary user gives neither users nor control groups; root gives both here, and then both are taken.
const ACCEPTED: &str = "users,cgroups";

/// Whether harness and agent have user ids of their own here.
pub(crate) fn has_uids() -> bool {
    rustix::process::geteuid().is_root()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::after(turn(false))
    }

    fn after(turn: fs::File) -> Self {
        let directory = TempDir::new().unwrap();
        // Every user must be able to pass through to what is his.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("data")).unwrap();
        fs::create_dir(path("run")).unwrap();
        fs::create_dir(path("tmp")).unwrap();
        fs::set_permissions(path("tmp"), Permissions::from_mode(0o1777)).unwrap();
        fs::copy(std::env::current_exe().unwrap(), path("probe")).unwrap();
        let script = format!(
            "#!/bin/sh\nexport NIGHTSHIFT_PROBE=harness\nexec {} probe::play --exact --nocapture\n",
            path("probe").display()
        );
        fs::write(path("harness"), script).unwrap();
        fs::set_permissions(path("harness"), Permissions::from_mode(0o755)).unwrap();
        let (platform, serving) =
            platform::start(&path("identity.sock"), &path("run/gateway.sock"));
        for socket in ["identity.sock", "run/gateway.sock"] {
            fs::set_permissions(path(socket), Permissions::from_mode(0o600)).unwrap();
        }
        Self {
            platform,
            without: String::new(),
            told: Vec::new(),
            directory,
            serving,
            _turn: turn,
        }
    }

    /// One whose agent makes more processes than others can spare.
    pub(crate) fn alone(actions: &[Action]) -> Self {
        let world = Self::after(turn(true));
        world.platform.lock().unwrap().brief = Some(brief(actions));
        world
    }

    /// A machine whose investigation is to do these things.
    pub(crate) fn claimed(actions: &[Action]) -> Self {
        let world = Self::new();
        world.platform.lock().unwrap().brief = Some(brief(actions));
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn agent_socket(&self) -> PathBuf {
        self.path("run/nightshift/agent.sock")
    }

    pub(crate) fn start(&self) -> Child {
        self.command().spawn().unwrap()
    }

    pub(crate) fn command(&self) -> Command {
        let log = fs::File::create(self.path("log")).unwrap();
        let [program, arguments @ ..] = &self.program()[..] else {
            unreachable!("it is never empty")
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.told.iter().map(|(name, value)| (name, value)))
            .env("NIGHTSHIFT_TMP", self.path("tmp"))
            .env("NIGHTSHIFT_ACCEPTED_RISKS", ACCEPTED)
            .env("NIGHTSHIFT_SESSION", "http://session.test")
            .env("NIGHTSHIFT_GATEWAY_SOCKET", self.path("run/gateway.sock"))
            .env("NIGHTSHIFT_IDENTITY_SOCKET", self.path("identity.sock"))
            .env(
                "NIGHTSHIFT_UIDS",
                if has_uids() { "range" } else { "single" },
            )
            .env("NIGHTSHIFT_VOLUME", self.path("data"))
            .env("NIGHTSHIFT_RUN", self.path("run/nightshift"))
            .env("NIGHTSHIFT_HARNESS", self.path("harness"))
            .stdin(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        command
    }

    /// The supervisor, or the weakened one with what it is to leave out.
    pub(crate) fn program(&self) -> Vec<String> {
        let supervisor = env!("CARGO_BIN_EXE_supervisor");
        if self.without.is_empty() {
            return vec![supervisor.to_owned()];
        }
        let weakened = Path::new(supervisor).with_file_name("examples/weakened");
        assert!(weakened.exists(), "build the examples too");
        vec![weakened.display().to_string(), self.without.clone()]
    }

    /// Starts the supervisor and gives the exit code of its end.
    pub(crate) async fn run(&self) -> Option<i32> {
        let mut child = self.start();
        end_of(&mut child).await
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// What came of the probe's actions so far.
    pub(crate) fn results(&self) -> Vec<String> {
        fs::read(self.path("data/session/results.json"))
            .map(|text| serde_json::from_slice(&text).unwrap())
            .unwrap_or_default()
    }

    /// Waits until so many actions are done.
    pub(crate) async fn until_done(&self, actions: usize) {
        until(|| self.results().len() >= actions).await;
    }

    /// Lets the probe go on that waits for a file.
    pub(crate) fn release(&self, name: &str) {
        let path = self.path("data/session").join(name);
        fs::write(&path, "").unwrap();
        if has_uids() {
            chown(path, Some(1001), Some(1001)).unwrap();
        }
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.platform.lock().unwrap().violations.clone()
    }
}

/// Waits until something is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let patience = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), patience)
        .await
        .unwrap();
}

pub(crate) async fn end_of(child: &mut Child) -> Option<i32> {
    tokio::time::timeout(Duration::from_secs(40), child.wait())
        .await
        .unwrap()
        .unwrap()
        .code()
}

pub(crate) fn brief(actions: &[Action]) -> Brief {
    Brief {
        investigation: InvestigationId::generate(),
        title: "An alert".to_owned(),
        service: None,
        severity: Severity::High,
        fired_at: DateTime::UNIX_EPOCH,
        instructions: serde_json::to_string(actions).unwrap(),
        model: "test-model".to_owned(),
        endpoints: Endpoints {
            telemetry: "http://telemetry.test/mcp".to_owned(),
            codebase: "http://codebase.test/mcp".to_owned(),
            casebook: "http://casebook.test/mcp".to_owned(),
            llm: "http://llm.test".to_owned(),
        },
        limits: Limits::default(),
    }
}

/// Processes whose command line holds `text`.
pub(crate) fn processes_with(text: &str) -> Vec<PathBuf> {
    let all = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()));
    all.filter(|process| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
    .collect()
}

/// Every regular file below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}
