//! The whole of it as a person runs it: real programs, real sandboxes, a stack of its own in a folder of
//! its own. Needs the programs of this build beside the tests (`cargo build --workspace --bins`).

mod stack;

use anyhow::{Context, Result};
use serde_json::Value;
use stack::Stack;

#[test]
fn every_recorded_incident_ends_in_a_report_that_names_its_cause() -> Result<()> {
    let stack = Stack::up()?;
    let recordings = stack.program(&["demo", "--list"])?;

    for recording in recordings.lines() {
        let printed = stack.program(&["demo", "--recording", recording, "--json"])?;
        let last = printed.lines().last().context("it printed nothing")?;
        let outcome: Value = serde_json::from_str(last)?;
        assert_eq!(outcome["correct"], true, "{recording}: {outcome}");
        assert!(
            outcome["alert_to_working_ms"].is_u64(),
            "{recording}: {outcome}"
        );
        let evidence = outcome["report"]["evidence"].as_array().map_or(0, Vec::len);
        assert!(evidence > 3, "{recording}: {outcome}");
    }
    assert!(recordings.lines().count() >= 3);
    stack.end()
}

#[test]
fn a_stack_that_is_killed_while_agents_work_loses_no_alert_and_leaves_nothing_behind() -> Result<()>
{
    let mut stack = Stack::up()?;
    for number in 0..8 {
        let body = format!(r#"{{"id": "thing-{number}", "title": "Thing {number} is slow"}}"#);
        stack.send(&body)?;
    }

    stack.kill()?;
    stack.start()?;
    let ends = stack.wait_for_ends()?;

    assert_eq!(ends.len(), 8);
    for (id, state) in &ends {
        let whole: Value =
            serde_json::from_str(&stack.program(&["investigations", "show", id, "--json"])?)?;
        assert!(
            state == "resting" || state == "concluded",
            "{id} is {state}: {whole}"
        );
        assert!(whole["report"].is_object(), "{id} has no report: {whole}");
    }
    stack.end()
}
