//! The whole of it as a person runs it: real programs, real sandboxes, a stack of its own in a folder of
//! its own. Needs the programs of this build beside the tests (`cargo build --workspace --bins`).

#![expect(clippy::print_stdout, reason = "figures are read where the tests run")]

mod ministack;

use anyhow::{Context, Result, ensure};
use nightshift_stack::Stack;
use serde_json::Value;

/// The control plane in one process.
const IN_PROCESS: &[&str] = &["--pool", "2"];
/// The control plane as its functions, over queues.
const FUNCTIONS: &[&str] = &["--pool", "2", "--lambda"];

#[test]
fn every_recorded_incident_ends_in_a_report_that_names_its_cause() -> Result<()> {
    let stack = Stack::up(IN_PROCESS)?;
    every_recording_is_correct(&stack)?;
    stack.end()
}

#[test]
fn every_recorded_incident_ends_the_same_way_through_functions_and_queues() -> Result<()> {
    let stack = Stack::up(FUNCTIONS)?;
    every_recording_is_correct(&stack)?;
    for function in [
        "alert-intake",
        "session",
        "api",
        "claim",
        "dispatch",
        "pool-refill",
        "provision",
        "sweep",
    ] {
        let log = stack.local().join(format!("logs/functions/{function}.log"));
        let log = std::fs::read_to_string(&log).with_context(|| format!("no {}", log.display()))?;
        ensure!(
            log.contains("REPORT RequestId"),
            "{function} was never invoked"
        );
        ensure!(!log.contains("Status: "), "{function} failed: {log}");
    }
    let waits = measured(&stack, "claim", "ClaimWait")?;
    ensure!(
        waits.iter().all(|wait| *wait > 0.0) && waits.len() >= 3,
        "{waits:?}"
    );
    let ready = measured(&stack, "sweep", "PoolReady")?;
    ensure!(!ready.is_empty(), "the sweep measures its pools");
    stack.end()
}

#[test]
fn a_stack_that_is_killed_while_agents_work_loses_no_alert_and_leaves_nothing_behind() -> Result<()>
{
    a_killed_stack_goes_on(Stack::up(IN_PROCESS)?)
}

#[test]
fn functions_that_are_killed_with_their_queues_lose_no_alert_and_leave_nothing_behind() -> Result<()>
{
    // With a full pool: a sandbox that was being made when its function was killed is only looked at again
    // when its message is visible again, nine minutes later.
    let stack = Stack::up(&["--pool", "8", "--lambda", "--sweep-seconds", "5"])?;
    stack.wait_for_ready(8)?;
    a_killed_stack_goes_on(stack)
}

fn every_recording_is_correct(stack: &Stack) -> Result<()> {
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
        println!(
            "{recording}: working {} ms after the alert, reported {} ms after it",
            outcome["alert_to_working_ms"], outcome["alert_to_report_ms"]
        );
        let evidence = outcome["report"]["evidence"].as_array().map_or(0, Vec::len);
        assert!(evidence > 3, "{recording}: {outcome}");
    }
    assert!(recordings.lines().count() >= 3);
    Ok(())
}

/// The values of a metric, by a function's log.
fn measured(stack: &Stack, function: &str, metric: &str) -> Result<Vec<f64>> {
    let log = stack.local().join(format!("logs/functions/{function}.log"));
    let log = std::fs::read_to_string(log)?;
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["_aws"].is_object());
    Ok(lines
        .flat_map(|line| {
            let value = &line[metric];
            // One value stands alone.
            value
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![value.clone()])
        })
        .filter_map(|value| value.as_f64())
        .collect())
}

fn a_killed_stack_goes_on(mut stack: Stack) -> Result<()> {
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
