//! Tools of the codebase server: what changed, and the text of it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TimeRange;

/// Arguments of `list_deploys`, `list_commits` and `list_flags`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListChangesArgs {
    /// Which time range to look at; from 24 hours before the alert to its time unless told.
    #[serde(flatten)]
    pub range: TimeRange,
    /// Only this service (deploys and flags).
    pub service: Option<String>,
    /// Only commits that touch a path that contains this text.
    pub path: Option<String>,
}

/// Answer of `list_deploys`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deploys {
    /// Newest first.
    pub deploys: Vec<Deploy>,
}

/// A release that reached production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deploy {
    /// When.
    pub at: DateTime<Utc>,
    /// Which service.
    pub service: String,
    /// The commit it was built from.
    pub commit: String,
    /// The commit it replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// What people call the release.
    pub version: String,
}

/// Answer of `list_commits`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commits {
    /// Newest first.
    pub commits: Vec<CommitSummary>,
}

/// A commit without its diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommitSummary {
    /// Its full hash.
    pub commit: String,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What its author said.
    pub message: String,
    /// The files it touches.
    pub paths: Vec<String>,
}

/// Arguments of `read_commit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadCommitArgs {
    /// The hash, or its first seven characters or more.
    pub commit: String,
}

/// Answer of `read_commit`: a commit with its diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    /// Its full hash.
    pub commit: String,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What its author said.
    pub message: String,
    /// What it changes.
    pub files: Vec<FileChange>,
}

/// What a commit does to one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileChange {
    /// Which file.
    pub path: String,
    /// The change as a unified diff.
    pub patch: String,
}

/// Answer of `list_flags`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlagChanges {
    /// Newest first.
    pub changes: Vec<FlagChange>,
}

/// A feature flag that was switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlagChange {
    /// When.
    pub at: DateTime<Utc>,
    /// Which flag.
    pub flag: String,
    /// For which service, where it is for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its value before. Reading accepts any plain value: most flags are `true` or `false`.
    #[serde(deserialize_with = "plain")]
    pub from: String,
    /// Its value after.
    #[serde(deserialize_with = "plain")]
    pub to: String,
    /// Who switched it.
    pub by: String,
}

/// Arguments of `search_code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchCodeArgs {
    /// A regular expression, matched line by line.
    pub pattern: String,
    /// Only files whose path contains this text.
    pub path: Option<String>,
    /// At most this many matches; 40 unless told, 200 at most.
    pub limit: Option<usize>,
}

/// Answer of `search_code`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodeMatches {
    /// How many lines match in all.
    pub matched: u64,
    /// The first of them.
    pub matches: Vec<CodeMatch>,
}

/// One line that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodeMatch {
    /// Which file.
    pub path: String,
    /// Which line, from 1.
    pub line: u32,
    /// Its text.
    pub text: String,
}

/// Arguments of `read_file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadFileArgs {
    /// Which file.
    pub path: String,
    /// The first line wanted, from 1.
    pub from_line: Option<u32>,
    /// How many lines; 200 unless told, 400 at most.
    pub lines: Option<u32>,
}

/// Answer of `read_file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileText {
    /// Which file.
    pub path: String,
    /// The commit it is from.
    pub commit: String,
    /// The first line shown, from 1.
    pub from_line: u32,
    /// How many lines the file has.
    pub total_lines: u32,
    /// The lines.
    pub text: String,
}

fn plain<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Object(_) | serde_json::Value::Array(_) => {
            Err(serde::de::Error::custom("a flag has a plain value"))
        }
        plain @ (serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)) => Ok(plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_reads_the_same_whether_its_value_is_quoted() {
        let change = |value: serde_json::Value| {
            serde_json::from_value::<FlagChange>(serde_json::json!({
                "at": "2026-01-01T00:00:00Z", "flag": "f", "from": value, "to": 3, "by": "x" }))
        };
        assert_eq!(
            change(false.into()).unwrap(),
            change("false".into()).unwrap()
        );
        assert_eq!(change(false.into()).unwrap().to, "3");
        assert!(change(serde_json::json!({})).is_err());
    }
}
