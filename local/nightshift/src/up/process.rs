//! One child process: started with a clear environment, watched until it answers, ended with us.

use std::{
    collections::VecDeque,
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, ChildStdin, Command};

/// How long a child may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(25);
/// How long a child may take to end by itself.
const END_PATIENCE: Duration = Duration::from_secs(8);
/// Lines of its log that an error shows.
const TAIL: usize = 12;
/// A log above this size, in bytes, begins anew at the next start.
const MAX_LOG_BYTES: u64 = 16 * 1024 * 1024;

/// What to run.
#[derive(Clone)]
pub(super) struct Program {
    /// Its name in messages and of its log.
    pub(super) name: &'static str,
    /// The executable.
    pub(super) path: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
    /// Its whole environment, apart from `PATH`.
    pub(super) environment: Vec<(&'static str, String)>,
    /// A URL that answers 2xx once it serves.
    pub(super) health: String,
    /// The folder of its log.
    pub(super) logs: PathBuf,
}

/// A running child. It ends when its standard input does: with us, however we end.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
}

impl Program {
    /// Starts it. Answers come later: see [`Program::wait_until_healthy`].
    pub(super) fn spawn(&self) -> Result<Process> {
        let log = self.log()?;
        let mut child = Command::new(&self.path)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C is for us, and we end the children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let input = child.stdin.take();
        Ok(Process { child, input })
    }

    /// Waits until it serves; fails if it ends first or takes too long, showing its last words.
    pub(super) async fn wait_until_healthy(
        &self,
        http: &reqwest::Client,
        process: &mut Process,
    ) -> Result<()> {
        let began = Instant::now();
        loop {
            if let Some(status) = process.child.try_wait()? {
                bail!("{} ended with {status}; {}", self.name, self.last_words());
            }
            let answer = http
                .get(&self.health)
                .timeout(Duration::from_secs(2))
                .send();
            if answer
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            if began.elapsed() > START_PATIENCE {
                let seconds = START_PATIENCE.as_secs();
                bail!(
                    "{} did not answer within {seconds} s; {}",
                    self.name,
                    self.last_words()
                );
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn log_path(&self) -> PathBuf {
        self.logs.join(format!("{}.log", self.name))
    }

    fn log(&self) -> Result<File> {
        let path = self.log_path();
        let too_large = std::fs::metadata(&path).is_ok_and(|log| log.len() > MAX_LOG_BYTES);
        File::options()
            .create(true)
            .append(!too_large)
            .write(true)
            .truncate(too_large)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn last_words(&self) -> String {
        let path = self.log_path();
        let tail = tail(&path);
        format!("{} ends with:\n{tail}", path.display())
    }
}

impl Process {
    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it: its input ends, which asks it to; one that does not follow is killed.
    pub(super) async fn end(mut self) {
        drop(self.input.take());
        if tokio::time::timeout(END_PATIENCE, self.child.wait())
            .await
            .is_err()
        {
            // It may have ended just now, which is as well.
            let _ = self.child.kill().await;
        }
    }
}

fn tail(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut last: VecDeque<&str> = VecDeque::new();
    for line in text.lines() {
        if last.len() == TAIL {
            last.pop_front();
        }
        last.push_back(line);
    }
    let lines: Vec<String> = last.iter().map(|line| crate::render::clean(line)).collect();
    lines.join("\n")
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(logs: &Path, script: &str) -> Program {
        Program {
            name: "sample",
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("GREETING", "hello".into())],
            // Nothing listens on the discard port.
            health: "http://127.0.0.1:9/healthz".into(),
            logs: logs.to_owned(),
        }
    }

    fn http() -> reqwest::Client {
        crate::api::http().unwrap()
    }

    #[tokio::test]
    async fn a_child_that_ends_early_is_named_with_its_last_words() {
        let logs = tempfile::tempdir().unwrap();
        let sample = program(logs.path(), "echo the key is missing >&2; exit 3");
        let mut process = sample.spawn().unwrap();
        let error = sample
            .wait_until_healthy(&http(), &mut process)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sample") && error.contains("the key is missing"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_child_sees_only_the_environment_it_is_given() {
        let logs = tempfile::tempdir().unwrap();
        let mut process = program(logs.path(), "env").spawn().unwrap();
        process.ended().await.unwrap();
        let log = std::fs::read_to_string(logs.path().join("sample.log")).unwrap();
        let names: Vec<&str> = log
            .lines()
            .filter_map(|line| line.split('=').next())
            .collect();
        let allowed = ["GREETING", "PATH", "PWD", "SHLVL", "_", "OLDPWD"];
        assert!(names.iter().all(|name| allowed.contains(name)), "{log}");
        assert!(names.contains(&"GREETING"), "{log}");
    }

    #[tokio::test]
    async fn a_child_is_asked_to_end_by_the_end_of_its_input() {
        let logs = tempfile::tempdir().unwrap();
        let process = program(logs.path(), "cat; echo asked").spawn().unwrap();
        process.end().await;
        let log = std::fs::read_to_string(logs.path().join("sample.log")).unwrap();
        assert_eq!(log, "asked\n");
    }
}
