//! The git repository of the shop's sources that a recording's commits and deploys come from.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Output,
};

use chrono::{DateTime, Utc};
use tokio::process::Command;

use super::sources::{FILES, SOURCES};
use crate::recording::{Commit, FilePatch, Files};

/// Why the repository cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Git failed.
    #[error("git {arguments} failed: {output}")]
    Git {
        /// What we asked for.
        arguments: String,
        /// What it printed.
        output: String,
    },
    /// A change names a source or text that is not there.
    #[error("nothing to change: {0}")]
    NothingToChange(String),
    /// The disk failed.
    #[error("cannot write the repository")]
    Io(#[from] io::Error),
}

/// A change of one file.
#[derive(Debug, Clone, Copy)]
pub enum Edit {
    /// The file's other compiled-in source.
    Source {
        /// Key of the file in [`SOURCES`].
        file: &'static str,
        /// Which source.
        name: &'static str,
    },
    /// Some words of a file that is not compiled in.
    Words {
        /// Which file.
        path: &'static str,
        /// What stands there.
        from: &'static str,
        /// What shall stand there.
        to: &'static str,
    },
}

/// What somebody commits.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Who.
    pub author: &'a str,
    /// What they say about it.
    pub message: &'a str,
    /// What they change.
    pub edits: &'a [Edit],
}

/// The repository.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    files: BTreeMap<String, String>,
    running: BTreeMap<&'static str, &'static str>,
    commits: Vec<Commit>,
}

impl History {
    /// Makes the repository in `dir`, with the sources as they are before any change.
    pub async fn begin(dir: &Path, now: DateTime<Utc>) -> Result<Self, HistoryError> {
        fs::create_dir_all(dir)?;
        let mut history = Self {
            dir: dir.to_owned(),
            files: BTreeMap::new(),
            running: BTreeMap::new(),
            commits: Vec::new(),
        };
        history.git(&["init", "-q", "-b", "main"], None).await?;
        for (path, text) in FILES {
            history.put(path, text)?;
        }
        for source in SOURCES {
            history.put(source.path, source.texts[0].1)?;
            history.running.insert(source.file, source.texts[0].0);
        }
        history
            .record("Mara Lindqvist", "Move the shop to its own repository", now)
            .await?;
        Ok(history)
    }

    /// Commits a change.
    pub async fn commit(
        &mut self,
        plan: &Plan<'_>,
        now: DateTime<Utc>,
    ) -> Result<String, HistoryError> {
        for edit in plan.edits {
            match *edit {
                Edit::Source { file, name } => {
                    let missing = || HistoryError::NothingToChange(format!("{file}={name}"));
                    let source = SOURCES
                        .iter()
                        .find(|source| source.file == file)
                        .ok_or_else(missing)?;
                    let text = source.texts.iter().find(|(known, _)| *known == name);
                    let (name, text) = text.ok_or_else(missing)?;
                    self.put(source.path, text)?;
                    self.running.insert(source.file, name);
                }
                Edit::Words { path, from, to } => {
                    let missing = || HistoryError::NothingToChange(format!("{path}: {from}"));
                    let text = self.files.get(path).ok_or_else(missing)?;
                    if !text.contains(from) {
                        return Err(missing());
                    }
                    let text = text.replacen(from, to, 1);
                    self.put(path, &text)?;
                }
            }
        }
        self.record(plan.author, plan.message, now).await
    }

    /// The newest commit.
    #[must_use]
    pub fn head(&self) -> &str {
        self.commits
            .last()
            .map_or("", |commit| commit.commit.as_str())
    }

    /// Everything that was committed, newest last.
    #[must_use]
    pub fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// Which compiled-in sources the newest commit holds, as a process is told.
    #[must_use]
    pub fn sources(&self) -> Vec<String> {
        self.running
            .iter()
            .map(|(file, name)| format!("{file}={name}"))
            .collect()
    }

    /// All files at the newest commit.
    #[must_use]
    pub fn files(&self) -> Files {
        Files {
            commit: self.head().to_owned(),
            files: self.files.clone(),
        }
    }

    fn put(&mut self, path: &str, text: &str) -> Result<(), HistoryError> {
        let place = self.dir.join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(place, text)?;
        self.files.insert(path.to_owned(), text.to_owned());
        Ok(())
    }

    async fn record(
        &mut self,
        author: &str,
        message: &str,
        now: DateTime<Utc>,
    ) -> Result<String, HistoryError> {
        self.git(&["add", "-A"], None).await?;
        self.git(&["commit", "-q", "-m", message], Some((author, now)))
            .await?;
        let hash = self
            .git(&["rev-parse", "HEAD"], None)
            .await?
            .trim()
            .to_owned();
        let show = ["show", "--format=", "--no-color", "--no-renames"];
        let names = [&show[..], &["--name-only", "HEAD"]].concat();
        let names = self.git(&names, None).await?;
        let mut files = Vec::new();
        for path in names.lines().filter(|line| !line.is_empty()) {
            let patch = [&show[..], &["-p", "HEAD", "--", path]].concat();
            let patch = self.git(&patch, None).await?;
            files.push(FilePatch {
                path: path.to_owned(),
                patch,
            });
        }
        // Git keeps whole seconds.
        let at = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
        let (author, message) = (author.to_owned(), message.to_owned());
        self.commits.push(Commit {
            commit: hash.clone(),
            author,
            at,
            message,
            files,
        });
        Ok(hash)
    }

    async fn git(
        &self,
        arguments: &[&str],
        by: Option<(&str, DateTime<Utc>)>,
    ) -> Result<String, HistoryError> {
        let mut git = Command::new("git");
        // Nobody's own configuration may change what a commit looks like.
        git.env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        if let Some((author, now)) = by {
            let mail = author.to_lowercase().replace(' ', ".") + "@shop.example";
            let date = format!("{} +0000", now.timestamp());
            for role in ["AUTHOR", "COMMITTER"] {
                git.env(format!("GIT_{role}_NAME"), author);
                git.env(format!("GIT_{role}_EMAIL"), &mail);
                git.env(format!("GIT_{role}_DATE"), &date);
            }
        }
        let output: Output = git
            .arg("-C")
            .arg(&self.dir)
            .args(arguments)
            .output()
            .await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(HistoryError::Git {
            arguments: arguments.join(" "),
            output,
        })
    }
}
