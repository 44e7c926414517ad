//! What a recording's cause really was, and whether a report names it.

use nightshift_domain::{
    Report,
    report::{CauseKind, Change},
};
use serde::{Deserialize, Serialize};

/// The true cause of a recorded incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// Where it starts.
    pub component: String,
    /// What sort of cause it is.
    pub kind: CauseKind,
    /// Which change caused it, if one did.
    pub change: ExpectedChange,
    /// In a person's words.
    pub why: String,
}

/// The true change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ExpectedChange {
    /// A commit.
    Commit {
        /// Its full hash.
        commit: String,
        /// The service that brought it to production.
        service: String,
    },
    /// A flag.
    Flag {
        /// Its name.
        flag: String,
    },
    /// None.
    NoChange,
}

impl Expected {
    /// Whether a report names this component, kind and change.
    #[must_use]
    pub fn is_named_by(&self, report: &Report) -> bool {
        report.root_cause.as_ref().is_some_and(|cause| {
            cause.component == self.component
                && cause.kind == self.kind
                && self.change.is(&cause.change)
        })
    }

    /// One line for a person.
    #[must_use]
    pub fn line(&self) -> String {
        let change = match &self.change {
            ExpectedChange::Commit { commit, service } => {
                let short: String = commit.chars().take(12).collect();
                format!("commit {short} of {service}")
            }
            ExpectedChange::Flag { flag } => format!("flag {flag}"),
            ExpectedChange::NoChange => "no change".to_owned(),
        };
        line(&self.component, self.kind, &change)
    }
}

/// What a report names, in one line for a person.
#[must_use]
pub fn found_line(report: &Report) -> String {
    let Some(cause) = &report.root_cause else {
        return "no root cause".to_owned();
    };
    let change = match &cause.change {
        Change::Commit {
            commit, service, ..
        } => {
            let short: String = commit.chars().take(12).collect();
            format!("commit {short} of {service}")
        }
        Change::Flag { flag, .. } => format!("flag {flag}"),
        Change::NoChange { .. } => "no change".to_owned(),
    };
    line(&cause.component, cause.kind, &change)
}

impl ExpectedChange {
    fn is(&self, claimed: &Change) -> bool {
        match (self, claimed) {
            (
                Self::Commit { commit, service },
                Change::Commit {
                    commit: claimed_commit,
                    service: claimed_service,
                    ..
                },
            ) => commit == claimed_commit && service == claimed_service,
            (Self::Flag { flag }, Change::Flag { flag: claimed, .. }) => flag == claimed,
            (Self::NoChange, Change::NoChange { .. }) => true,
            (Self::Commit { .. } | Self::Flag { .. } | Self::NoChange, _) => false,
        }
    }
}

fn line(component: &str, kind: CauseKind, change: &str) -> String {
    let kind = kind.as_str().replace('_', " ");
    format!("{component}: {kind}, {change}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        serde_json::from_value(serde_json::json!({
            "component": "inventory", "kind": "code_regression",
            "change": {"type": "commit", "commit": "abc", "service": "inventory"}, "why": "a loop"
        }))
        .unwrap()
    }

    fn report(component: &str, kind: &str, commit: &str) -> Report {
        serde_json::from_value(serde_json::json!({
            "outcome": "root_cause_found", "summary": "",
            "root_cause": {
                "component": component, "kind": kind,
                "change": {"type": "commit", "commit": commit, "service": "inventory",
                           "deployed_at": null},
                "statement": "", "confidence": 0.8, "evidence": []
            },
            "impact": {"summary": "", "failed_share": null, "affected": [], "evidence": []},
            "timeline": [], "findings": [], "ruled_out": [], "related_alerts": [],
            "next_steps": [], "evidence": [], "dropped": []
        }))
        .unwrap()
    }

    #[test]
    fn a_report_is_right_only_if_component_kind_and_change_are() {
        let right = expected();
        assert!(right.is_named_by(&report("inventory", "code_regression", "abc")));
        assert!(!right.is_named_by(&report("checkout", "code_regression", "abc")));
        assert!(!right.is_named_by(&report("inventory", "resource_leak", "abc")));
        assert!(!right.is_named_by(&report("inventory", "code_regression", "abd")));
        let mut none = report("inventory", "code_regression", "abc");
        none.root_cause = None;
        assert!(!right.is_named_by(&none));
    }

    #[test]
    fn no_change_is_an_answer_too() {
        let mut right = expected();
        right.change = ExpectedChange::NoChange;
        assert!(!right.is_named_by(&report("inventory", "code_regression", "abc")));
    }
}
