//! A stack of its own, in a folder that looks like a checkout.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a stack may take to come up, and a crowd of agents to end: the machines are slow and busy.
const PATIENCE: Duration = Duration::from_mins(4);

/// A running stack.
pub(crate) struct Stack {
    folder: TempDir,
    programs: PathBuf,
    process: Child,
}

impl Stack {
    /// Starts one and waits until it says that it is up.
    pub(crate) fn up() -> Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("no checkout")?;
        let programs = std::env::current_exe()?
            .ancestors()
            .nth(2)
            .context("the tests lie in no target folder")?
            .to_owned();
        let folder = TempDir::new()?;
        for part in ["Cargo.toml", "local", "sandbox-image"] {
            symlink(checkout.join(part), folder.path().join(part))?;
        }
        let process = spawn(&programs, folder.path())?;
        let mut stack = Self {
            folder,
            programs,
            process,
        };
        stack.wait_until_up()?;
        Ok(stack)
    }

    /// Starts it again after [`Stack::kill`].
    pub(crate) fn start(&mut self) -> Result<()> {
        self.process = spawn(&self.programs, self.folder.path())?;
        self.wait_until_up()
    }

    /// Kills it as a power cut would, and waits until what it started is gone too.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        let began = Instant::now();
        while !self.processes().is_empty() {
            ensure!(
                began.elapsed() < Duration::from_secs(10),
                "left: {:?}",
                self.processes()
            );
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends it as Ctrl-C does; fails if a process, a machine or a volume is left.
    pub(crate) fn end(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::INT)?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the stack ended with {status}");
        ensure!(self.processes().is_empty(), "left: {:?}", self.processes());
        for kept in ["machines", "volumes", "records/machines", "records/volumes"] {
            let kept = self.folder.path().join(".local/machines").join(kept);
            let left = fs::read_dir(&kept).map_or(0, Iterator::count);
            ensure!(left == 0, "{} still holds {left}", kept.display());
        }
        Ok(())
    }

    /// Runs the command-line program against it; returns what it printed.
    pub(crate) fn program(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).stderr(Stdio::inherit()).output()?;
        let printed = String::from_utf8(output.stdout)?;
        ensure!(
            output.status.success(),
            "{arguments:?} ended with {}: {printed}",
            output.status
        );
        Ok(printed)
    }

    /// Sends a signed alert of the generic source.
    pub(crate) fn send(&self, body: &str) -> Result<()> {
        let file = self.folder.path().join("body.json");
        fs::write(&file, body)?;
        let file = file.to_str().context("not a path of text")?;
        self.program(&["alerts", "send", "--source", "generic", file])
            .map(drop)
    }

    /// Waits until no investigation is under way; returns each with its state.
    pub(crate) fn wait_for_ends(&self) -> Result<Vec<(String, String)>> {
        let began = Instant::now();
        loop {
            let listed = self.program(&["investigations", "list", "--json"])?;
            let states: Vec<(String, String)> = listed
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .flat_map(|value| value.as_array().cloned().unwrap_or_else(|| vec![value]))
                .filter_map(|item| {
                    Some((
                        item["id"].as_str()?.to_owned(),
                        item["state"].as_str()?.to_owned(),
                    ))
                })
                .collect();
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

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("nightshift"));
        command
            .arg("--root")
            .arg(self.folder.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
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

    /// Command lines of living processes that name our folder or run inside its sandboxes, PostgreSQL's excepted:
    /// it is meant to outlive a kill.
    fn processes(&self) -> Vec<String> {
        let folder = self.folder.path().to_string_lossy().into_owned();
        let read = |entry: fs::DirEntry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let ours = line.contains(&folder) && !line.contains("postgres");
            ours.then_some(line)
        };
        fs::read_dir("/proc")
            .map(|entries| entries.flatten().filter_map(read).collect())
            .unwrap_or_default()
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

fn spawn(programs: &Path, folder: &Path) -> Result<Child> {
    let log = File::create(folder.join("up.log"))?;
    Command::new(programs.join("nightshift"))
        .arg("--root")
        .arg(folder)
        .args(["up", "--pool", "2"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("the programs are not built: cargo build --workspace --bins")
}
