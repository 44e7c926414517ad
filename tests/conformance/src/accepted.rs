//! The failures that we accept, each with its reason, and what is not as they say.
//!
//! One line each: `SERVER VERSION SCENARIO/CHECK | REASON`. The server may be `all`: then it is accepted of each,
//! and each must fail it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use crate::{SERVERS, VERSIONS, suite::Check};

/// The shortest reason that can be one, in characters.
const SHORTEST_REASON: usize = 20;

/// The accepted failures and their reasons, by `SERVER VERSION SCENARIO/CHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted(BTreeMap<String, String>);

impl Accepted {
    /// Reads the list. A line without a reason is none.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut accepted = BTreeMap::new();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, reason) = line.split_once('|').unwrap_or((line, ""));
            let reason = reason.trim();
            ensure!(
                reason.len() >= SHORTEST_REASON,
                "there is no reason: {line}"
            );
            let words: Vec<&str> = name.split_whitespace().collect();
            let [server, version, check] = words[..] else {
                anyhow::bail!("not SERVER VERSION SCENARIO/CHECK | REASON: {line}");
            };
            ensure!(VERSIONS.contains(&version), "there is no version {version}");
            let servers: Vec<&str> = match server {
                "all" => SERVERS.into(),
                one => vec![one],
            };
            for server in servers {
                ensure!(SERVERS.contains(&server), "there is no server {server}");
                let name = format!("{server} {version} {check}");
                let before = accepted.insert(name, reason.to_owned());
                ensure!(before.is_none(), "it is there twice: {line}");
            }
        }
        Ok(Self(accepted))
    }

    /// What is not as the list says: failures that it does not name, and what it names and did not fail. The
    /// latter only of servers that were asked, unless all were.
    pub(crate) fn judge(&self, found: &[Check], all: bool) -> Vec<String> {
        let failed: BTreeSet<String> = found
            .iter()
            .filter(|check| !check.passed)
            .map(Check::name)
            .collect();
        let asked: BTreeSet<&str> = found.iter().map(|check| check.server).collect();
        let mut wrong = Vec::new();
        for check in found.iter().filter(|check| !check.passed) {
            if !self.0.contains_key(&check.name()) {
                wrong.push(format!("FAILED {}: {}", check.name(), check.said));
            }
        }
        for name in self.0.keys() {
            let server = name.split(' ').next().unwrap_or_default();
            if !failed.contains(name) && (all || asked.contains(server)) {
                wrong.push(format!(
                    "PASSES {name}: it is accepted as a failure and is none"
                ));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(server: &'static str, passed: bool) -> Check {
        Check {
            server,
            version: VERSIONS[0],
            scenario: "ping".to_owned(),
            id: "ping".to_owned(),
            passed,
            said: "no".to_owned(),
        }
    }

    #[test]
    fn a_failure_that_is_not_named_and_a_named_one_that_passes_are_both_told() {
        let line = "casebook 2025-11-25 ping/ping | nobody ever asks it in our setting";
        let accepted = Accepted::read(&format!("# why\n{line}\n")).unwrap();
        assert_eq!(accepted.judge(&[check("casebook", false)], true), [""; 0]);
        let passes = accepted.judge(&[check("casebook", true)], true);
        assert!(passes[0].starts_with("PASSES casebook"), "{passes:?}");
        let other = accepted.judge(&[check("casebook", false), check("codebase", false)], true);
        assert!(other[0].starts_with("FAILED codebase"), "{other:?}");
        assert_eq!(accepted.judge(&[check("codebase", true)], false), [""; 0]);
        assert_eq!(accepted.judge(&[check("codebase", true)], true).len(), 1);
    }

    #[test]
    fn a_line_without_a_reason_or_with_a_slip_is_refused() {
        for line in [
            "casebook 2025-11-25 ping/ping",
            "casebook 2025-11-25 ping/ping | so",
            "casbook 2025-11-25 ping/ping | nobody ever asks it in our setting",
            "casebook 2025-11-26 ping/ping | nobody ever asks it in our setting",
            "casebook ping/ping | nobody ever asks it in our setting",
        ] {
            assert!(Accepted::read(line).is_err(), "{line}");
        }
    }
}
