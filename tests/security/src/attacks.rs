//! Every attack, by family.

mod doors;
mod injection;
mod model;
mod network;
mod output;
mod proofs;
mod runs;
mod sandboxes;
mod secrets;
mod session;
mod tenants;
mod tokens;
mod tools;
mod webhooks;

use crate::case::{Case, not_here};

/// Every case, by the number of its row.
pub(crate) fn all() -> Vec<Case> {
    let families = [
        injection::CASES,
        output::CASES,
        tokens::CASES,
        proofs::CASES,
        runs::CASES,
        session::CASES,
        tools::CASES,
        tenants::CASES,
        doors::CASES,
        model::CASES,
        network::CASES,
        secrets::CASES,
        webhooks::CASES,
        sandboxes::CASES,
        NOT_HERE,
    ];
    let mut all: Vec<Case> = families.into_iter().flatten().copied().collect();
    all.sort_by_key(|case| case.row);
    all
}

const NO_REPOSITORY: &str =
    "no server opens a repository, runs git or unpacks an archive: code is read from recordings";

/// What cannot be tried on one machine, or has nothing to be tried on.
const NOT_HERE: &[Case] = &[
    not_here(
        4,
        "report-image",
        "an image in a report carries data away when it is shown",
        "reports are shown as text; nothing of ours renders Markdown or HTML",
    ),
    not_here(
        8,
        "tool-rug-pull",
        "a tool's description changes after it was approved",
        "sandboxes reach only our own servers, whose descriptions are in the release",
    ),
    not_here(
        27,
        "cursor-tamper",
        "a cursor of another run is presented",
        "no tool hands out cursors or state",
    ),
    not_here(
        30,
        "approval-swap",
        "the approval of one run is used by another",
        "no tool writes outside, so nothing is approved",
    ),
    not_here(
        38,
        "query-breakout",
        "a query's text breaks out of its tenant's filter",
        "no backend takes a query language; arguments are compared, not run",
    ),
    not_here(
        43,
        "token-on-disk",
        "a token in a session file, a log or a crash dump",
        "no code writes a token, so there is nothing to switch off; tests/supervisor looks for it on the disk",
    ),
    not_here(
        44,
        "settings-in-a-repository",
        "a repository that configures the harness",
        "our harness reads no settings from where it works",
    ),
    not_here(
        45,
        "git-hooks",
        "a repository brings hooks and drivers",
        NO_REPOSITORY,
    ),
    not_here(
        47,
        "zip-slip",
        "an attachment unpacks outside of its folder",
        NO_REPOSITORY,
    ),
    not_here(
        52,
        "used-sandbox",
        "what one tenant left in a sandbox, found by the next",
        "a claimed sandbox has no transition back to ready: there is nothing to switch off",
    ),
    not_here(
        54,
        "other-tenants-secret",
        "a server for one tenant reads another's secret in AWS",
        "only AWS can judge its policies; tests/aws in crates/secrets simulates their logic",
    ),
    not_here(
        55,
        "chosen-tag",
        "a process chooses the tenant in its session's tags",
        "only AWS can judge its policies; tests/aws in crates/secrets simulates their logic",
    ),
    not_here(
        57,
        "secret-enumeration",
        "a server lists, describes or tags secrets",
        "only AWS can judge its policies; tests/aws in crates/secrets simulates their logic",
    ),
    not_here(
        60,
        "supply-chain",
        "a dependency or a base image turns malicious",
        "held by lock files, digests and the rules of tests/integration/layers.rs, not by a program",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nightshift_controls::Control;

    use super::*;
    use crate::case::Attack;

    /// Rows of the list.
    const ROWS: u8 = 62;
    /// Attacks that must be tried at least.
    const TRIED: usize = 50;

    #[test]
    fn every_row_is_tried_or_its_reason_is_given_and_every_attack_has_a_switch() {
        let all = all();
        for row in 1..=ROWS {
            assert!(all.iter().any(|case| case.row == row), "row {row}");
        }
        let tried = all
            .iter()
            .filter(|case| matches!(case.attack, Attack::Tried(_)));
        assert!(tried.clone().count() >= TRIED);
        for case in tried {
            assert!(!case.controls.is_empty(), "{} has no switch", case.name);
        }
        let names: BTreeSet<&str> = all.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), all.len(), "each has a name of its own");
    }

    #[test]
    fn every_control_that_has_a_switch_is_attacked() {
        let all = all();
        for control in Control::ALL {
            let attacked = all.iter().any(|case| case.controls.contains(control));
            assert!(attacked, "nobody attacks {control}");
        }
    }
}
