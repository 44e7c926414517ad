//! The analyst on made-up incidents: it finds causes, and it never blames an innocent deploy.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what broke by ending, and prints what it found"
)]

mod answers;
mod blind;
mod diffs;
mod drive;
mod scenarios;
mod world;

use nightshift_domain::report::{Change, Outcome, Report};
use nightshift_llm_gateway::analyst;
use nightshift_protocol::messages::{Block, Message, Role, StopReason};

use crate::{
    drive::{Finished, TOOLS, investigate, request},
    scenarios::{SORTS, incident},
    world::World,
};

const SEEDS: u64 = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Graded {
    Right,
    Open,
    WrongPlace,
    BlamedInnocent,
}

fn grade(world: &World, report: Option<&Report>) -> Graded {
    let Some(cause) = report.and_then(|report| report.root_cause.as_ref()) else {
        return if world.guilty.is_none() && !has_trigger(world) {
            Graded::Right
        } else {
            Graded::Open
        };
    };
    let blamed = match &cause.change {
        Change::Commit { commit, .. } => Some(commit.clone()),
        Change::Flag { .. } | Change::NoChange { .. } => None,
    };
    match (&world.guilty, blamed) {
        (_, Some(blamed)) if Some(&blamed) != world.guilty.as_ref() => Graded::BlamedInnocent,
        (Some(_), None) => Graded::Open,
        _ if !world.components.contains(&cause.component) => Graded::WrongPlace,
        _ => Graded::Right,
    }
}

/// Whether the incident has an outside trigger that can be seen, so that "open" is no full answer.
fn has_trigger(world: &World) -> bool {
    let slow_alone = world.after.nodes[2].fails < 0.01
        && world.after.nodes[4].fails < 0.01
        && (world.after.demand - world.before.demand).abs() < 1.0
        && world.after.nodes[1].calls[0].3 < 1.0;
    !slow_alone
}

#[test]
fn causes_are_found_and_no_innocent_deploy_is_blamed() {
    let mut wrong = Vec::new();
    let mut rows = Vec::new();
    for sort in SORTS {
        let mut right = 0;
        for seed in 0..SEEDS {
            let world = incident(sort, seed * 7_919 + 13);
            let finished = investigate(&world, TOOLS, false);
            match grade(&world, finished.report.as_ref()) {
                Graded::Right => right += 1,
                graded @ (Graded::Open | Graded::WrongPlace | Graded::BlamedInnocent) => {
                    wrong.push((*sort, seed, graded, finished.words));
                }
            }
        }
        rows.push(format!("{sort}: {right}/{SEEDS}"));
    }
    let table = rows.join("\n");
    println!("{table}");
    for (sort, seed, graded, words) in wrong.iter().take(12) {
        println!("{sort} #{seed}: {graded:?}: {words}");
    }
    let blamed = wrong
        .iter()
        .filter(|(_, _, graded, _)| *graded == Graded::BlamedInnocent);
    assert_eq!(blamed.count(), 0, "innocent deploys blamed\n{table}");
    let all = SORTS.len() * usize::try_from(SEEDS).unwrap();
    assert!(wrong.len() * 20 <= all, "more than 5 % wrong\n{table}");
}

#[test]
fn notes_alone_carry_an_investigation_through_the_loss_of_results() {
    for sort in SORTS {
        let world = incident(sort, 5);
        let whole = investigate(&world, TOOLS, false).report.map(without_ids);
        let forgetful = investigate(&world, TOOLS, true).report.map(without_ids);
        assert_eq!(whole, forgetful, "{sort}");
    }
}

fn without_ids(report: Report) -> (Outcome, String, Option<String>) {
    let cause = report
        .root_cause
        .map(|cause| format!("{} {:?}", cause.component, cause.change));
    (report.outcome, report.summary, cause)
}

#[test]
fn any_set_of_tools_is_coped_with() {
    for (at, missing) in TOOLS.iter().enumerate() {
        let world = incident(SORTS[at % SORTS.len()], 3);
        let offered: Vec<&str> = TOOLS
            .iter()
            .copied()
            .filter(|tool| tool != missing)
            .collect();
        let finished = investigate(&world, &offered, false);
        assert_ne!(
            grade(&world, finished.report.as_ref()),
            Graded::BlamedInnocent,
            "without {missing}"
        );
    }
    for server in ["telemetry", "codebase", "casebook"] {
        let offered: Vec<&str> = TOOLS
            .iter()
            .copied()
            .filter(|tool| !tool.starts_with(server))
            .collect();
        for sort in SORTS {
            let finished = investigate(&incident(sort, 11), &offered, false);
            assert!(!finished.words.is_empty(), "{sort} without {server}");
        }
    }
    assert!(
        investigate(&incident(SORTS[0], 1), &[], false)
            .report
            .is_none()
    );
}

#[test]
fn without_the_diffs_no_commit_is_blamed() {
    let offered: Vec<&str> = TOOLS
        .iter()
        .copied()
        .filter(|tool| *tool != "codebase_read_commit")
        .collect();
    for sort in SORTS {
        let finished = investigate(&incident(sort, 8), &offered, false);
        let cause = finished.report.and_then(|report| report.root_cause);
        assert!(
            !cause.is_some_and(|cause| matches!(cause.change, Change::Commit { .. })),
            "{sort}"
        );
    }
}

#[test]
fn every_prefix_of_a_conversation_has_a_valid_next_turn() {
    for sort in SORTS {
        let Finished { messages, .. } = investigate(&incident(sort, 21), TOOLS, false);
        for end in 1..=messages.len() {
            let answer = analyst::answer(&request(&messages[..end], TOOLS));
            let calls = answer
                .content
                .iter()
                .filter(|block| matches!(block, Block::ToolUse { .. }));
            let waits = answer.stop_reason == Some(StopReason::ToolUse);
            assert_eq!(calls.count() > 0, waits, "{sort} at {end}");
            let mut ids = std::collections::BTreeSet::new();
            for block in &answer.content {
                if let Block::ToolUse { id, name, input } = block {
                    assert!(TOOLS.contains(&name.as_str()) && input.is_object() && ids.insert(id));
                }
            }
        }
    }
}

#[test]
fn questions_after_the_report_are_answered_from_the_notes() {
    let world = incident("connection leak", 2);
    let Finished { mut messages, .. } = investigate(&world, TOOLS, true);
    for (question, expected) in [
        ("A person asks: why do you think so?", "gives back"),
        ("A person asks: what did you rule out?", "Ruled out"),
        ("A person asks: what is the impact?", "requests"),
        ("A person asks: what should we do next?", "Roll"),
        ("A person asks: when did it start?", "UTC"),
        ("A person asks: lorem?", "recorded"),
    ] {
        messages.push(Message {
            role: Role::User,
            content: vec![Block::Text {
                text: question.to_owned(),
            }],
        });
        let answer = analyst::answer(&request(&messages, TOOLS));
        let Some(Block::Text { text }) = answer.content.first() else {
            panic!("an answer is text");
        };
        assert!(
            text.contains(expected) || text.contains("leaves before") || text.contains("takes"),
            "{question}: {text}"
        );
        assert_eq!(answer.stop_reason, Some(StopReason::EndTurn));
        messages.push(Message {
            role: Role::Assistant,
            content: answer.content,
        });
    }
}

#[test]
fn an_investigation_takes_few_turns() {
    for sort in SORTS {
        let turns = investigate(&incident(sort, 4), TOOLS, false).turns;
        let open = ["slow without a change", "new failure"].contains(sort);
        assert!(
            turns <= if open { 8 } else { 6 },
            "{sort} took {turns} turns"
        );
    }
}
