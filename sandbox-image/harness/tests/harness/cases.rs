//! The loop itself: tools, limits, and everything that goes wrong around it.

use std::{collections::VecDeque, time::Duration};

use nightshift_harness::{Finish, Harness as _};
use nightshift_protocol::messages::Block;
use serde_json::{Value, json};

use crate::{
    model_fake::{Turn, calls, says},
    tools_fake::evidence,
    world::{World, ordinary_script, report},
};

/// The text of the result of one call, as the model got it, and whether it was an error.
fn result(world: &World, call: &str) -> (String, bool) {
    let session = world.session();
    let blocks = session.messages.iter().flat_map(|message| &message.content);
    let mut found = blocks.filter_map(|block| match block {
        Block::ToolResult {
            tool_use_id,
            content,
            is_error,
        } if tool_use_id == call => Some((content.clone(), *is_error)),
        Block::ToolResult { .. } | Block::Text { .. } | Block::ToolUse { .. } => None,
    });
    found.next().unwrap()
}

fn reported() -> [Turn; 2] {
    [
        calls(&[("report", "casebook_submit_report", report("Found."))]),
        says("Done."),
    ]
}

#[tokio::test]
async fn an_investigation_ends_with_the_report_that_the_model_wrote() {
    let world = World::new(ordinary_script());
    assert_eq!(world.work().await.unwrap(), Finish::Done);
    assert_eq!(world.violations(), [""; 0]);
    assert_eq!(world.reports()[0]["summary"], "It was the database.");
    assert_eq!(world.requests(), 4);
    let (text, failed) = result(&world, "c4");
    assert!(text.contains("wc -l") && !failed, "{text}");
    let logs = evidence("query_logs", &json!({ "service": "checkout" }));
    assert_eq!(world.session().evidence["c2"].to_string(), logs);
}

#[tokio::test]
async fn the_model_sees_every_tool_but_the_heartbeat_and_cannot_call_that_either() {
    let mut script = vec![calls(&[
        ("c1", "casebook_heartbeat", json!({})),
        ("c2", "nowhere_tool", json!({})),
        ("c3", "telemetry_nothing", json!({})),
    ])];
    script.extend(reported());
    let world = World::new(script);
    world.work().await.unwrap();
    let first = world.fakes.model.requests.lock().unwrap()[0].clone();
    let names: Vec<&str> = first.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "casebook_read_alert",
            "casebook_read_evidence",
            "casebook_read_inbox",
            "casebook_submit_report",
            "casebook_answer_message",
            "telemetry_query_logs",
            "telemetry_query_metrics",
            "codebase_list_commits",
            "shell",
        ]
    );
    assert_eq!(world.called("casebook.heartbeat"), 0);
    for call in ["c1", "c2", "c3"] {
        assert!(result(&world, call).1, "{call}");
    }
}

#[tokio::test]
async fn calls_of_one_turn_run_four_at_a_time_and_answer_in_order() {
    let names: Vec<String> = (0..6).map(|n| format!("c{n}")).collect();
    let wanted: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(n, id)| {
            let tool = if n == 0 {
                "telemetry_query_logs"
            } else {
                "telemetry_query_metrics"
            };
            (id.as_str(), tool, json!({ "n": n }))
        })
        .collect();
    let mut script = vec![calls(&wanted)];
    script.extend(reported());
    let world = World::new(script);
    {
        let mut case = world.fakes.case.lock().unwrap();
        case.slow
            .insert("query_logs".to_owned(), Duration::from_millis(300));
        case.slow
            .insert("query_metrics".to_owned(), Duration::from_millis(60));
    }
    world.work().await.unwrap();
    // The model refuses results in another order, so no violation means that they are in order.
    assert_eq!(world.violations(), [""; 0]);
    assert_eq!(world.fakes.case.lock().unwrap().most_running, 4);
}

#[tokio::test]
async fn a_tool_that_fails_is_told_to_the_model_and_the_work_goes_on() {
    let mut script = vec![calls(&[(
        "c1",
        "telemetry_query_metrics",
        json!({ "fail": true }),
    )])];
    script.extend(reported());
    let world = World::new(script);
    world.work().await.unwrap();
    assert_eq!(result(&world, "c1"), ("no such metric".to_owned(), true));
    assert_eq!(world.reports().len(), 1);
}

#[tokio::test]
async fn a_broken_connection_is_made_anew_as_soon_as_the_server_is_back() {
    let away = vec![503; 1_000];
    for (failures, works) in [
        (vec![503], true),
        (vec![401], true),
        (vec![503; 3], true),
        (away, false),
    ] {
        let mut script = vec![
            calls(&[("c0", "casebook_read_alert", json!({}))]),
            calls(&[("c1", "telemetry_query_logs", json!({}))]),
        ];
        script.extend(reported());
        let mut world = World::new(script);
        let fakes = world.fakes.clone();
        let native = world.native.clone();
        let break_it = async {
            // The connections stand when the first tool is called.
            while world.seen.recv().await.unwrap() != "casebook.test read_alert" {}
            let failing = VecDeque::from(failures.clone());
            fakes
                .case
                .lock()
                .unwrap()
                .http_failures
                .insert("telemetry".to_owned(), failing);
        };
        let work = native.work(world.brief.clone(), std::future::pending());
        tokio::join!(work, break_it).0.unwrap();
        let (text, failed) = result(&world, "c1");
        assert_eq!(failed, !works, "{} failures: {text}", failures.len());
        assert_eq!(world.reports().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_there_once_it_is_back() {
    let mut script = vec![calls(&[("c1", "telemetry_query_logs", json!({}))])];
    script.extend(reported());
    let world = World::new(script);
    let away = VecDeque::from(vec![503; 2]);
    world
        .fakes
        .case
        .lock()
        .unwrap()
        .http_failures
        .insert("telemetry".to_owned(), away);
    world.work().await.unwrap();
    assert!(!result(&world, "c1").1);
}

#[tokio::test]
async fn the_model_is_asked_again_when_it_is_busy_and_not_when_it_refuses() {
    let world = World::new(ordinary_script());
    {
        let mut refusals = world.fakes.model.refusals.lock().unwrap();
        refusals.insert(0, (429, vec![("retry-after", "1")], "slow down"));
        refusals.insert(1, (529, vec![], "overloaded"));
    }
    world.work().await.unwrap();
    assert_eq!(world.reports()[0]["summary"], "It was the database.");

    for (status, headers) in [(403, vec![]), (500, vec![("x-should-retry", "false")])] {
        let world = World::new(ordinary_script());
        world
            .fakes
            .model
            .refusals
            .lock()
            .unwrap()
            .insert(1, (status, headers, "no budget"));
        assert_eq!(world.work().await.unwrap(), Finish::Done);
        let summary = world.reports()[0]["summary"].as_str().unwrap().to_owned();
        assert!(summary.contains("no budget"), "{summary}");
        assert_eq!(world.requests(), 1, "a refusal is final");
    }
}

#[tokio::test]
async fn a_model_that_never_reports_is_reminded_twice_and_then_reported_as_inconclusive() {
    let world = World::new(vec![
        calls(&[("c1", "telemetry_query_logs", json!({}))]),
        says("I think that is all."),
        says("Really."),
        says("No report from me."),
    ]);
    assert_eq!(world.work().await.unwrap(), Finish::Done);
    assert_eq!(world.violations(), [""; 0]);
    assert_eq!(world.requests(), 4);
    let report = world.reports()[0].clone();
    assert!(
        report["summary"]
            .as_str()
            .unwrap()
            .contains("ended without a report")
    );
    assert_eq!(report["root_cause"], Value::Null);
    let cited = report["findings"][0]["evidence"][0]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(cited, evidence("query_logs", &json!({})));
}

#[tokio::test]
async fn the_same_call_a_third_time_in_a_row_is_not_made() {
    let same = || calls(&[("x", "telemetry_query_logs", json!({ "q": 1 }))]);
    let mut script: Vec<Turn> = (0..4)
        .map(|n| {
            let mut turn = same();
            turn.content[1]["id"] = json!(format!("c{n}"));
            turn
        })
        .collect();
    script.extend(reported());
    let world = World::new(script);
    world.work().await.unwrap();
    assert_eq!(world.called("telemetry.query_logs"), 2);
    let (text, failed) = result(&world, "c2");
    assert!(failed && text.starts_with("not called"), "{text}");
    assert!(!result(&world, "c1").1);
}

#[tokio::test]
async fn the_limit_of_requests_ends_in_a_report_and_is_announced() {
    let script = (0..9)
        .map(|n| calls(&[(&format!("c{n}"), "telemetry_query_logs", json!({ "n": n }))]))
        .collect();
    let mut world = World::new(script);
    world.brief.limits.model_requests = 5;
    world.work().await.unwrap();
    assert_eq!(world.requests(), 5);
    let last = world
        .fakes
        .model
        .requests
        .lock()
        .unwrap()
        .last()
        .cloned()
        .unwrap();
    assert!(format!("{:?}", last.messages.last()).contains("Requests left: 1."));
    let summary = world.reports()[0]["summary"].as_str().unwrap().to_owned();
    assert!(summary.contains("limit of model requests"), "{summary}");
}

#[tokio::test]
async fn the_wall_clock_ends_in_a_report_while_a_tool_still_runs() {
    let mut world = World::new(ordinary_script());
    world.brief.limits.wall_seconds = 1;
    let slow = Duration::from_secs(30);
    world
        .fakes
        .case
        .lock()
        .unwrap()
        .slow
        .insert("query_logs".to_owned(), slow);
    let started = std::time::Instant::now();
    assert_eq!(world.work().await.unwrap(), Finish::Done);
    assert!(started.elapsed() < Duration::from_secs(10));
    let summary = world.reports()[0]["summary"].as_str().unwrap().to_owned();
    assert!(summary.contains("limit of 1 s"), "{summary}");
}

#[tokio::test]
async fn a_run_that_the_casebook_calls_over_ends_without_a_report() {
    let mut world = World::new(ordinary_script());
    world.native.heartbeat = Duration::from_millis(20);
    {
        let mut case = world.fakes.case.lock().unwrap();
        case.slow
            .insert("query_logs".to_owned(), Duration::from_secs(30));
        case.over = true;
    }
    assert_eq!(world.work().await.unwrap(), Finish::Over);
    assert!(world.reports().is_empty());
    assert_eq!(world.fakes.case.lock().unwrap().heartbeats, 1);
}

#[tokio::test]
async fn an_answer_cut_at_the_token_limit_loses_its_half_call_and_goes_on() {
    let mut cut = calls(&[("c1", "telemetry_query_logs", json!({ "half": true }))]);
    cut.stop_reason = "max_tokens";
    let mut script = vec![
        cut,
        Turn {
            content: json!([]),
            stop_reason: "end_turn",
        },
    ];
    script.extend(reported());
    let world = World::new(script);
    world.work().await.unwrap();
    assert_eq!(world.violations(), [""; 0]);
    assert_eq!(world.called("telemetry.query_logs"), 0);
    assert_eq!(world.reports()[0]["summary"], "Found.");
}

#[tokio::test]
async fn a_session_of_another_investigation_is_not_touched() {
    let world = World::new(ordinary_script());
    world.work().await.unwrap();
    let before = world.session();
    let mut other = World::new(ordinary_script());
    other.native.config.session_dir = world.session_dir();
    assert!(other.work().await.is_err());
    assert_eq!(world.session(), before);
    assert_eq!(other.requests(), 0);
}
