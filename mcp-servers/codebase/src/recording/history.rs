//! Reads the history that one recording holds.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use chrono::{DateTime, Utc};
use nightshift_observer::{ReadError, json};
use nightshift_protocol::tools::codebase::{Commit, Deploy, FlagChange};
use serde::Deserialize;
use serde_json::Value;

use crate::backend::History;

#[derive(Deserialize)]
struct Tree {
    commit: String,
    files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Topology {
    #[serde(default)]
    services: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct FlagLine {
    at: DateTime<Utc>,
    flag: String,
    service: Option<String>,
    from: Value,
    to: Value,
    by: String,
}

impl FlagLine {
    fn change(self) -> FlagChange {
        FlagChange {
            at: self.at,
            flag: self.flag,
            service: self.service,
            from: setting(self.from),
            to: setting(self.to),
            by: self.by,
        }
    }
}

/// A flag's value as text: flags are switches, numbers and names.
fn setting(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => other.to_string(),
    }
}

/// Reads and parses the files. This takes a while: call it where blocking is allowed.
pub(super) fn read(directory: &Path) -> Result<History, ReadError> {
    let mut commits: Vec<Commit> = json(directory, "commits.json.gz")?;
    let mut deploys: Vec<Deploy> = json(directory, "deploys.json")?;
    let flags: Vec<FlagLine> = json(directory, "flags.json")?;
    let mut flags: Vec<FlagChange> = flags.into_iter().map(FlagLine::change).collect();
    let tree: Tree = json(directory, "files.json.gz")?;
    let topology: Topology = json(directory, "topology.json")?;

    let mut services: BTreeSet<String> = topology
        .services
        .into_iter()
        .map(|service| service.name)
        .collect();
    services.extend(deploys.iter().map(|deploy| deploy.service.clone()));
    services.extend(flags.iter().filter_map(|flag| flag.service.clone()));

    // Newest last in the file; of two at the same instant the later one in the file is newer.
    commits.reverse();
    commits.sort_by_key(|commit| Reverse(commit.at));
    deploys.reverse();
    deploys.sort_by_key(|deploy| Reverse(deploy.at));
    flags.reverse();
    flags.sort_by_key(|flag| Reverse(flag.at));
    Ok(History {
        commits,
        deploys,
        flags,
        tree_commit: tree.commit,
        files: tree.files,
        services,
    })
}
