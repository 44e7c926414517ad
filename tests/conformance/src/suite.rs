//! The suite, and what it found.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{process::Command, time};

/// How long all scenarios of one version may take with one server.
const PATIENCE: Duration = Duration::from_mins(5);
/// Characters of a time at the end of a folder's name, with the line before it.
const STAMP: usize = "-2026-01-01T00-00-00-000Z".len();

/// The suite.
#[derive(Debug)]
pub(crate) struct Suite {
    node: PathBuf,
    script: PathBuf,
}

/// One check of one scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) server: &'static str,
    pub(crate) version: &'static str,
    pub(crate) scenario: String,
    pub(crate) id: String,
    pub(crate) passed: bool,
    /// What the suite says of it.
    pub(crate) said: String,
}

impl Check {
    /// As the list of accepted failures names it.
    pub(crate) fn name(&self) -> String {
        let Self {
            server,
            version,
            scenario,
            id,
            ..
        } = self;
        format!("{server} {version} {scenario}/{id}")
    }
}

impl Suite {
    pub(crate) fn at(node: &Path, script: &Path) -> Self {
        Self {
            node: node.to_owned(),
            script: script.to_owned(),
        }
    }

    /// Every scenario that this version of the protocol has, with the server at `url`.
    pub(crate) async fn run(
        &self,
        server: &'static str,
        version: &'static str,
        url: &str,
    ) -> Result<Vec<Check>> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(&self.node);
        command
            .arg(&self.script)
            .args(["server", "--suite", "all", "--spec-version", version])
            .args(["--url", url, "--output-dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // How it ends says only whether all passed.
        let ended = time::timeout(PATIENCE, command.output()).await;
        let output = ended.context("the suite did not come to its end")??;
        let checks = read(folder.path(), server, version)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            checks.len() > 20,
            "the suite found only {} things: {said}",
            checks.len()
        );
        Ok(checks)
    }
}

fn read(folder: &Path, server: &'static str, version: &'static str) -> Result<Vec<Check>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let scenario = scenario(&name).with_context(|| format!("what is {name}?"))?;
        let checks: Vec<Value> = serde_json::from_slice(&fs::read(path.join("checks.json"))?)?;
        for check in &checks {
            let id = check["id"].as_str().context("a check without a name")?;
            let passed = match check["status"].as_str() {
                Some("SUCCESS") => true,
                Some("FAILURE" | "WARNING") => false,
                // Told, or not asked of us.
                _ => continue,
            };
            let said = check["errorMessage"].as_str().unwrap_or_default();
            found.push(Check {
                server,
                version,
                scenario: scenario.to_owned(),
                id: id.to_owned(),
                passed,
                said: said.replace('\n', " "),
            });
        }
    }
    found.sort_by_key(Check::name);
    Ok(merged(found))
}

/// A check that was made several times passes if it passed each time.
fn merged(checks: Vec<Check>) -> Vec<Check> {
    let mut merged: Vec<Check> = Vec::new();
    for check in checks {
        match merged.last_mut() {
            Some(last) if last.name() == check.name() => {
                if last.passed && !check.passed {
                    *last = check;
                }
            }
            _ => merged.push(check),
        }
    }
    merged
}

/// `server-SCENARIO-TIME`.
fn scenario(folder: &str) -> Option<&str> {
    let bare = folder.strip_prefix("server-")?;
    bare.get(..bare.len().checked_sub(STAMP)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_suite_left_is_read_check_by_check() {
        let folder = tempfile::tempdir().unwrap();
        let one = folder
            .path()
            .join("server-json-schema-2020-12-2026-11-22T13-30-09-495Z");
        fs::create_dir(&one).unwrap();
        let text = r#"[{"id": "b", "status": "SUCCESS"}, {"id": "a", "status": "INFO"},
            {"id": "c", "status": "SUCCESS"}, {"id": "c", "status": "FAILURE", "errorMessage": "no"}]"#;
        fs::write(one.join("checks.json"), text).unwrap();
        let checks = read(folder.path(), "casebook", "2025-11-25").unwrap();
        let told: Vec<_> = checks
            .iter()
            .map(|check| (check.name(), check.passed))
            .collect();
        let name = |id: &str| format!("casebook 2025-11-25 json-schema-2020-12/{id}");
        assert_eq!(told, [(name("b"), true), (name("c"), false)]);
    }
}
