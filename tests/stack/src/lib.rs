//! A stack of its own, in a folder that looks like a checkout: started, killed and ended by a test, with
//! the programs of this build (`cargo build --workspace --bins`).

mod processes;

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
pub use processes::{Process, children_of, signal};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a stack may take to come up, and a crowd of agents to end: the machines are slow and busy.
const PATIENCE: Duration = Duration::from_mins(4);

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    folder: TempDir,
    programs: PathBuf,
    setup: Setup,
    process: Child,
}

/// How a stack is started.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// What `nightshift up` is told.
    pub arguments: Vec<String>,
    /// What it finds in its environment beside ours.
    pub environment: Vec<(&'static str, String)>,
    /// Files that lie below `.local` before the first start, for their owner alone, by name.
    pub files: Vec<(&'static str, String)>,
}

impl Stack {
    /// Runs `nightshift up` with `arguments` and waits until it says that the stack is up.
    pub fn up(arguments: &[&str]) -> Result<Self> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        Self::with(Setup {
            arguments: arguments.collect(),
            ..Setup::default()
        })
    }

    /// The same, with more than arguments.
    pub fn with(setup: Setup) -> Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("no checkout")?;
        let programs = programs()?;
        let folder = TempDir::new()?;
        for part in ["Cargo.toml", "local", "sandbox-image"] {
            symlink(checkout.join(part), folder.path().join(part))?;
        }
        for (name, text) in &setup.files {
            let path = folder.path().join(".local").join(name);
            fs::create_dir_all(path.parent().context("no folder")?)?;
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(text.as_bytes())?;
        }
        let process = spawn(&programs, folder.path(), &setup)?;
        let mut stack = Self {
            folder,
            programs,
            setup,
            process,
        };
        stack.wait_until_up()?;
        Ok(stack)
    }

    /// Starts it again after [`Stack::kill`].
    pub fn start(&mut self) -> Result<()> {
        self.process = spawn(&self.programs, self.folder.path(), &self.setup)?;
        self.wait_until_up()
    }

    /// Kills it as a power cut would, and waits until what it started is gone too.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        let began = Instant::now();
        while !self.processes().is_empty() {
            let left = self.processes();
            ensure!(began.elapsed() < Duration::from_secs(10), "left: {left:?}");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends it as Ctrl-C does; fails if a process, a machine or a volume is left.
    pub fn end(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::INT)?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the stack ended with {status}");
        ensure!(self.processes().is_empty(), "left: {:?}", self.processes());
        for kept in ["machines", "volumes", "records/machines", "records/volumes"] {
            let kept = self.local().join("machines").join(kept);
            let left = fs::read_dir(&kept).map_or(0, Iterator::count);
            ensure!(left == 0, "{} still holds {left}", kept.display());
        }
        Ok(())
    }

    /// Runs the command-line program against it; returns what it printed.
    pub fn program(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).stderr(Stdio::inherit()).output()?;
        let printed = String::from_utf8(output.stdout)?;
        let status = output.status;
        ensure!(
            status.success(),
            "{arguments:?} ended with {status}: {printed}"
        );
        Ok(printed)
    }

    /// The same, to be started by the caller.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("nightshift"));
        command
            .arg("--root")
            .arg(self.folder.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Sends a signed alert of the generic source.
    pub fn send(&self, body: &str) -> Result<()> {
        let file = self.folder.path().join("body.json");
        fs::write(&file, body)?;
        let file = file.to_str().context("not a path of text")?;
        self.program(&["alerts", "send", "--source", "generic", file])
            .map(drop)
    }

    /// Waits until no investigation is under way; returns each with its state.
    pub fn wait_for_ends(&self) -> Result<Vec<(String, String)>> {
        let began = Instant::now();
        loop {
            let states = self.investigations()?;
            let under_way = |(_, state): &&(String, String)| {
                ["queued", "claimed", "starting", "working"].contains(&state.as_str())
            };
            if !states.is_empty() && states.iter().filter(under_way).count() == 0 {
                return Ok(states);
            }
            ensure!(began.elapsed() < PATIENCE, "still under way: {states:?}");
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// Waits until so many sandboxes are ready.
    pub fn wait_for_ready(&self, wanted: i64) -> Result<()> {
        let began = Instant::now();
        loop {
            let pools: Value = serde_json::from_str(&self.program(&["pool", "--json"])?)?;
            let pools = pools.as_array().map_or(&[][..], Vec::as_slice);
            let ready: i64 = pools.iter().filter_map(|pool| pool["ready"].as_i64()).sum();
            if ready >= wanted {
                return Ok(());
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "only {ready} sandboxes are ready"
            );
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// Every investigation with its state.
    pub fn investigations(&self) -> Result<Vec<(String, String)>> {
        let listed = self.program(&["investigations", "list", "--json"])?;
        let items = listed
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .flat_map(|value| value.as_array().cloned().unwrap_or_else(|| vec![value]));
        let state = |item: Value| {
            let text = |name: &str| item[name].as_str().map(str::to_owned);
            Some((text("id")?, text("state")?))
        };
        Ok(items.filter_map(state).collect())
    }

    /// What it tells whoever wants to use it.
    pub fn file(&self) -> Result<Value> {
        Ok(serde_json::from_str(&fs::read_to_string(
            self.local().join("stack.json"),
        )?)?)
    }

    /// Where it keeps its state and its logs.
    #[must_use]
    pub fn local(&self) -> PathBuf {
        self.folder.path().join(".local")
    }

    /// The folder of the programs.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// The processes that it started itself: servers, and instances of functions.
    #[must_use]
    pub fn children(&self) -> Vec<Process> {
        children_of(self.process.id())
    }

    /// Keeps its folder, for whoever wants to look into it; says where.
    #[must_use]
    pub fn keep_folder(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder.path().to_owned()
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let began = Instant::now();
        let log = self.folder.path().join("up.log");
        while !fs::read_to_string(&log)
            .unwrap_or_default()
            .contains("the stack is up")
        {
            if let Some(status) = self.process.try_wait()? {
                bail!(
                    "the stack ended with {status}: {}",
                    fs::read_to_string(&log)?
                );
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "not up: {}",
                fs::read_to_string(&log)?
            );
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Command lines of living processes that name our folder, run inside its sandboxes or were started by the
    /// stack, PostgreSQL's excepted: it is meant to outlive a kill.
    fn processes(&self) -> Vec<String> {
        let folder = self.folder.path().to_string_lossy().into_owned();
        let named = processes::all()
            .into_iter()
            .filter(|process| process.line.contains(&folder));
        let mut lines: Vec<String> = named.map(|process| process.line).collect();
        lines.extend(self.children().into_iter().map(|process| process.line));
        lines.retain(|line| !line.contains("postgres"));
        lines
    }
}

impl Drop for Stack {
    /// A test that fails leaves no stack behind either.
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill_process(Pid::from_child(&self.process), Signal::INT);
            let _ = self.process.wait();
        }
    }
}

/// The folder of this build's programs: where we lie ourselves, or above.
fn programs() -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    let found = me
        .ancestors()
        .skip(1)
        .find(|folder| folder.join("nightshift").is_file());
    found
        .map(Path::to_owned)
        .context("the programs are not built: cargo build --workspace --bins")
}

fn spawn(programs: &Path, folder: &Path, setup: &Setup) -> Result<Child> {
    let log = File::create(folder.join("up.log"))?;
    Command::new(programs.join("nightshift"))
        .arg("--root")
        .arg(folder)
        .arg("up")
        .args(&setup.arguments)
        .envs(setup.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("the programs are not built: cargo build --workspace --bins")
}
