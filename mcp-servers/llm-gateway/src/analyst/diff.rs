//! Reads a commit's diff and tells what it can do to a running system, whatever its message says.

mod inert;
mod lifetime;
mod loops;
mod patch;
mod values;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use nightshift_domain::EvidenceId;
use nightshift_protocol::tools::codebase::{Commit, FileChange};
use serde::{Deserialize, Serialize};

use self::patch::{Mark, Patch};
pub(crate) use self::values::Topic;
use super::words::{short, telling};

/// Something that a diff can do to a running system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "can", rename_all = "snake_case")]
pub(crate) enum Ability {
    /// It calls something once for each element of a list, which it did not before.
    CallsInLoop {
        /// Where.
        path: String,
        /// The call.
        line: String,
        /// Whether it replaces one call for the whole list.
        batch_removed: bool,
    },
    /// It makes one more call.
    OneMoreCall {
        /// Where.
        path: String,
        /// The call.
        line: String,
    },
    /// It can take something limited without giving it back.
    KeepsResource {
        /// Where.
        path: String,
        /// How, in words.
        how: String,
        /// The telling line.
        line: String,
    },
    /// It adds to something that nothing empties.
    Grows {
        /// Where.
        path: String,
        /// The telling line.
        line: String,
    },
    /// It changes a number.
    SetsValue {
        /// Where.
        path: String,
        /// What the number is for.
        key: String,
        /// What it is about.
        topic: Topic,
        /// The old number, in the unit's base (milliseconds for times), where there was one.
        from: Option<f64>,
        /// The new number; `None` where it was removed.
        to: Option<f64>,
        /// The new line.
        line: String,
    },
    /// It adds a way to fail.
    Fails {
        /// Where.
        path: String,
        /// The telling line.
        line: String,
    },
    /// It makes something slow: a pause, a lock, a missing index.
    Slows {
        /// Where.
        path: String,
        /// The telling line.
        line: String,
    },
    /// It changes which version of a library is used.
    Dependency {
        /// Where.
        path: String,
        /// The library.
        name: String,
    },
    /// It changes behaviour in another way.
    Logic {
        /// Where.
        path: String,
        /// The first changed line.
        line: String,
    },
}

impl Ability {
    /// Which file it is in.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::CallsInLoop { path, .. }
            | Self::OneMoreCall { path, .. }
            | Self::KeepsResource { path, .. }
            | Self::Grows { path, .. }
            | Self::SetsValue { path, .. }
            | Self::Fails { path, .. }
            | Self::Slows { path, .. }
            | Self::Dependency { path, .. }
            | Self::Logic { path, .. } => path,
        }
    }

    /// What it does, in a few words that continue "it …".
    pub(crate) fn told(&self) -> String {
        match self {
            Self::CallsInLoop { line, .. } => format!("calls inside a loop (`{line}`)"),
            Self::OneMoreCall { line, .. } => format!("makes one more call (`{line}`)"),
            Self::KeepsResource { how, line, .. } => format!("{how} (`{line}`)"),
            Self::Grows { line, .. } => format!("adds to a store that nothing empties (`{line}`)"),
            Self::SetsValue {
                key,
                from,
                to,
                line,
                ..
            } => {
                let text = |value: &Option<f64>| {
                    value.map_or_else(|| "nothing".to_owned(), super::number::plain)
                };
                let (from, to) = (text(from), text(to));
                if key.is_empty() {
                    format!("changes a number from {from} to {to} (`{line}`)")
                } else {
                    format!("sets `{key}` from {from} to {to}")
                }
            }
            Self::Fails { line, .. } => format!("adds a way to fail (`{line}`)"),
            Self::Slows { line, .. } => format!("adds slow work (`{line}`)"),
            Self::Dependency { name, .. } => format!("changes the library `{name}`"),
            Self::Logic { path, line } => format!("changes `{line}` in {path}"),
        }
    }
}

/// What was read in a commit's diff.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// Cite this.
    pub(crate) ev: EvidenceId,
    /// The full hash.
    pub(crate) commit: String,
    /// Who wrote it.
    pub(crate) author: String,
    /// When.
    pub(crate) at: DateTime<Utc>,
    /// The first line of what its author said.
    pub(crate) message: String,
    /// The files it touches.
    pub(crate) paths: Vec<String>,
    /// What it can do; empty where it can do nothing to a running system.
    pub(crate) abilities: Vec<Ability>,
    /// Why it can do nothing, where that is so.
    pub(crate) inert: Option<String>,
    /// Telling words of its changed lines.
    pub(crate) words: BTreeSet<String>,
    /// Texts that it adds or changes.
    pub(crate) literals: Vec<String>,
}

/// Most abilities kept of one commit.
const ABILITIES: usize = 10;

/// Reads a commit.
pub(crate) fn read(ev: EvidenceId, commit: &Commit) -> Reading {
    let patches: Vec<Patch> = commit
        .files
        .iter()
        .map(|file| Patch::parse(&file.path, &file.patch))
        .collect();
    let mut abilities = Vec::new();
    let mut reasons = BTreeSet::new();
    for patch in &patches {
        if let Some(reason) = inert::reason(patch) {
            reasons.insert(reason);
            continue;
        }
        abilities.extend(loops::abilities(patch));
        abilities.extend(lifetime::abilities(patch));
        abilities.extend(values::abilities(patch));
        abilities.extend(other(patch));
    }
    abilities.truncate(ABILITIES);
    let inert = abilities.is_empty().then(|| {
        if reasons.is_empty() {
            "shows no change of code".to_owned()
        } else {
            let reasons: Vec<&str> = reasons.into_iter().collect();
            format!("only touches {}", reasons.join(" and "))
        }
    });
    let live = || {
        patches
            .iter()
            .filter(|patch| inert::reason(patch).is_none())
    };
    let words = live()
        .flat_map(Patch::changed)
        .flat_map(telling)
        .chain(live().flat_map(|patch| telling(&patch.path)))
        .take(120)
        .collect();
    Reading {
        ev,
        commit: commit.commit.clone(),
        author: commit.author.clone(),
        at: commit.at,
        message: short(commit.message.lines().next().unwrap_or_default(), 100),
        paths: commit
            .files
            .iter()
            .map(|file| file.path.clone())
            .take(12)
            .collect(),
        abilities,
        inert,
        words,
        literals: live().flat_map(literals).take(12).collect(),
    }
}

/// Reads one text as if it were a commit: code behind a flag, or a flag's value.
pub(crate) fn read_text(
    ev: EvidenceId,
    name: &str,
    path: &str,
    text: &str,
    at: DateTime<Utc>,
) -> Reading {
    let commit = Commit {
        commit: name.to_owned(),
        author: String::new(),
        at,
        message: String::new(),
        files: vec![FileChange {
            path: path.to_owned(),
            patch: text.to_owned(),
        }],
    };
    read(ev, &commit)
}

/// What is left when neither loops nor lifetimes nor numbers tell.
fn other(patch: &Patch) -> Vec<Ability> {
    let file = &patch.path;
    let mut found = Vec::new();
    for line in patch.code(Mark::Added) {
        if inert::is_report(line) {
            continue;
        }
        let low = line.to_lowercase();
        let has = |needles: &[&str]| needles.iter().any(|needle| low.contains(needle));
        let failing = [
            "raise ",
            "throw ",
            "panic!",
            "panic(",
            "bail!",
            "return err(",
            "err(",
            ".unwrap()",
            ".expect(",
            "abort(",
            "errors.new(",
            "fmt.errorf(",
            "ensure!",
            "assert",
            "unimplemented",
            "todo!",
            "internal_server_error",
            "http.error(",
        ];
        let slow = [
            "sleep(",
            "sleep ",
            "drop index",
            ".lock()",
            "synchronized",
            "lock.acquire",
            "mutex.lock",
            "blocking",
            "like '%",
            "for update",
            "wait_for(",
            "time.after(",
        ];
        if has(&slow) && !has(&["unlock"]) {
            found.push(Ability::Slows {
                path: file.clone(),
                line: short(line, 90),
            });
        } else if has(&failing) {
            found.push(Ability::Fails {
                path: file.clone(),
                line: short(line, 90),
            });
        }
    }
    for line in patch.code(Mark::Removed) {
        let low = line.to_lowercase();
        if [
            "create index",
            "add index",
            "cache.get",
            "from_cache",
            "cached(",
            "memoize",
            "@cache",
        ]
        .iter()
        .any(|needle| low.contains(needle))
        {
            found.push(Ability::Slows {
                path: file.clone(),
                line: short(line, 90),
            });
        }
    }
    found.truncate(4);
    if let Some(name) = dependency(patch) {
        found.push(Ability::Dependency {
            path: file.clone(),
            name,
        });
    }
    let first = patch
        .code(Mark::Added)
        .chain(patch.code(Mark::Removed))
        .find(|line| !inert::is_report(line) && line.chars().any(char::is_alphanumeric));
    if let Some(line) = first {
        found.push(Ability::Logic {
            path: file.clone(),
            line: short(line, 70),
        });
    }
    found
}

/// The library whose version a manifest changes.
fn dependency(patch: &Patch) -> Option<String> {
    const MANIFESTS: [&str; 11] = [
        "requirements",
        "package.json",
        "go.mod",
        "cargo.toml",
        "gemfile",
        "pom.xml",
        "pyproject",
        "build.gradle",
        "setup.py",
        "pipfile",
        "constraints",
    ];
    let file = patch.path.rsplit('/').next()?.to_lowercase();
    if !MANIFESTS.iter().any(|manifest| file.starts_with(manifest)) {
        return None;
    }
    let line = patch
        .code(Mark::Added)
        .chain(patch.code(Mark::Removed))
        .find(|line| line.chars().any(|letter| letter.is_ascii_digit()) || line.len() > 2)?;
    let name: String = line
        .trim()
        .trim_matches(['"', '\''])
        .chars()
        .take_while(|letter| letter.is_alphanumeric() || "-_./@".contains(*letter))
        .collect();
    (!name.is_empty()).then_some(name)
}

/// Texts in quotes of the added lines.
fn literals(patch: &Patch) -> Vec<String> {
    patch
        .code(Mark::Added)
        .flat_map(|line| {
            line.split('"')
                .skip(1)
                .step_by(2)
                .filter(|text| text.trim().len() >= 6)
                .map(|text| short(text, 120))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_patch(path: &str, text: &str) -> Reading {
        read_text(
            EvidenceId::generate(),
            "0123456",
            path,
            text,
            DateTime::UNIX_EPOCH,
        )
    }

    #[test]
    fn a_new_failure_is_read_with_its_text() {
        let reading = read_patch(
            "src/quote.py",
            "@@ -1,3 +1,5 @@\n def quote(cart):\n+    if cart.currency not in RATES:\n+        raise ValueError(\"no rate for currency\")\n     return cart\n",
        );
        assert!(
            reading
                .abilities
                .iter()
                .any(|a| matches!(a, Ability::Fails { .. }))
        );
        assert_eq!(reading.literals, ["no rate for currency"]);
        assert!(reading.words.contains("currency"));
    }

    #[test]
    fn a_library_is_named_by_its_manifest() {
        let reading = read_patch(
            "svc/requirements.txt",
            "@@ -1,2 +1,2 @@\n flask==3.0\n-tensorlib==1.4.2\n+tensorlib>=1.4\n",
        );
        assert!(reading.abilities.contains(&Ability::Dependency {
            path: "svc/requirements.txt".to_owned(),
            name: "tensorlib".to_owned(),
        }));
    }
}
