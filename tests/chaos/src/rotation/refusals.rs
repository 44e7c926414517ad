//! Everything that was refused, by whoever says so: servers' logs, supervisors' logs, the audit, and what
//! agents saw.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use nightshift_stack::Stack;

use super::{ends::Ends, model::Model};

/// Logs below `logs`, and what they say of a request that was refused: none should be.
const REFUSING: [(&str, &[&str]); 5] = [
    ("casebook.log", &["Refused a request"]),
    ("telemetry.log", &["Refused a request"]),
    ("codebase.log", &["Refused a request"]),
    ("llm-gateway.log", &["Refused a request"]),
    ("functions/session.log", &["Refused a sandbox"]),
];
/// What supervisors say of an answer that their harness had to take, and of tokens that were refused.
const SUPERVISORS: &[&str] = &[
    "A server refused a request",
    "The brief does not name",
    "Ending the harness, its tokens",
];

/// What was refused, and what had to be done again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    /// Requests that were refused and should have passed, one line each.
    pub(crate) refused: Vec<String>,
    /// What did not work for agents, one line each.
    pub(crate) surfaced: Vec<String>,
    /// Requests that servers put off, because whom they ask was away.
    pub(crate) put_off: usize,
    /// Requests that supervisors sent again, as nobody had looked at them.
    pub(crate) repeated: usize,
    /// Requests of which supervisors do not know whether they arrived, and which harnesses sent again.
    pub(crate) model_again: usize,
    /// Renewals of tokens.
    pub(crate) renewals: usize,
    /// Renewals that took more than one attempt.
    pub(crate) renewals_again: usize,
}

impl Refusals {
    /// Reads all of it. While runs are live: the logs of machines go with
    /// them.
    pub(crate) async fn read(stack: &Stack, ends: &Ends, model: &Model) -> Result<Self> {
        let mut found = Self {
            surfaced: model.failures(),
            ..Self::default()
        };
        let logs = stack.local().join("logs");
        for (name, words) in REFUSING {
            let path = logs.join(name);
            let log =
                fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
            found.refused.extend(saying(name, &log, words));
            found.put_off += log.matches("A request waits because").count();
        }
        found.refused.extend(ends.refused_calls().await?);
        let machines = machine_logs(&stack.local().join("machines/machines"))?;
        ensure!(!machines.is_empty(), "no machine has a log");
        for (machine, log) in &machines {
            found.refused.extend(saying(machine, log, SUPERVISORS));
            found.repeated += log.matches("Repeated a request").count();
            found.model_again += log.matches("The model gave no answer").count();
            found.renewals += log.matches("Renewed the run tokens").count();
            found.renewals_again += log.matches("The session endpoint gave no answer").count();
        }
        Ok(found)
    }

    /// The lines once each, with how often they came.
    pub(crate) fn summed(lines: &[String]) -> BTreeMap<&str, usize> {
        let mut sums = BTreeMap::new();
        for line in lines {
            *sums.entry(line.as_str()).or_default() += 1;
        }
        sums
    }
}

/// The lines of a log that say one of these.
fn saying(name: &str, log: &str, words: &[&str]) -> Vec<String> {
    log.lines()
        .filter(|line| words.iter().any(|words| line.contains(words)))
        .map(|line| format!("{name}: {line}"))
        .collect()
}

/// The log of every machine, by the machine's folder.
fn machine_logs(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let machine: PathBuf = entry?.path();
        let mut log = String::new();
        for part in ["log.1", "log"] {
            let bytes = fs::read(machine.join(part)).unwrap_or_default();
            log.push_str(&String::from_utf8_lossy(&bytes));
        }
        if !log.is_empty() {
            let name = machine.file_name().unwrap_or_default();
            found.push((name.to_string_lossy().into_owned(), log));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_says_so_is_found_and_no_other() {
        let log = "WARN gate: Refused a request reason=x\nINFO all is well\n";
        let found = saying("casebook.log", log, REFUSING[0].1);
        assert_eq!(
            found,
            ["casebook.log: WARN gate: Refused a request reason=x"]
        );
    }
}
