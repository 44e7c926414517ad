//! A long transcript makes room without losing what it may cite.

use nightshift_protocol::messages::{Block, Role};
use serde_json::json;

use crate::{
    model_fake::{calls, says},
    tools_fake::evidence,
    world::{World, report},
};

#[tokio::test]
async fn old_results_make_room_and_their_evidence_stays_named() {
    let mut script: Vec<_> = (0..8)
        .map(|n| {
            calls(&[(
                &format!("c{n}"),
                "telemetry_query_logs",
                json!({ "page": n }),
            )])
        })
        .collect();
    script.push(calls(&[(
        "end",
        "casebook_submit_report",
        report("Found."),
    )]));
    script.push(says("Done."));
    let mut world = World::new(script);
    world.brief.limits.context_chars = 10_000;
    world.fakes.case.lock().unwrap().padding = 3_000;
    world.work().await.unwrap();

    assert_eq!(world.violations(), [""; 0]);
    let requests = world.fakes.model.requests.lock().unwrap().clone();
    for request in &requests {
        let size = nightshift_harness::compact::size(&request.messages);
        assert!(size <= 10_000, "{size}");
        // Every answer that the model got so far is there, or says how to get it again.
        let results = request
            .messages
            .iter()
            .flat_map(|m| &m.content)
            .filter_map(|b| match b {
                Block::ToolResult {
                    tool_use_id,
                    content,
                    ..
                } => Some((tool_use_id, content)),
                Block::Text { .. } | Block::ToolUse { .. } => None,
            });
        for (page, (id, content)) in results.enumerate().filter(|(_, (id, _))| *id != "end") {
            let evidence = evidence("query_logs", &json!({ "page": page }));
            assert!(content.contains(&evidence), "{id}: {content:.200}");
        }
        // What the model itself said is never touched.
        let said = request
            .messages
            .iter()
            .filter(|m| m.role == Role::Assistant);
        for message in said {
            assert!(
                matches!(&message.content[0], Block::Text { text } if text.contains("Calling"))
            );
        }
    }
    let last = format!("{:?}", requests.last().unwrap().messages);
    assert!(
        last.contains("[cut to save room: evidence evd_"),
        "{last:.2000}"
    );
    assert!(last.contains("read it again with casebook_read_evidence"));
}

#[tokio::test]
async fn a_conversation_that_the_model_finds_too_long_is_shortened_and_sent_again() {
    let world = World::new(vec![
        calls(&[("c1", "telemetry_query_logs", json!({ "page": 1 }))]),
        calls(&[("c2", "telemetry_query_logs", json!({ "page": 2 }))]),
        calls(&[("c3", "casebook_submit_report", report("Found."))]),
        says("Done."),
    ]);
    world.fakes.case.lock().unwrap().padding = 5_000;
    let too_long = (
        400,
        vec![],
        "prompt is too long: 250000 tokens > 200000 maximum",
    );
    world
        .fakes
        .model
        .refusals
        .lock()
        .unwrap()
        .insert(2, too_long);
    world.work().await.unwrap();

    let requests = world.fakes.model.requests.lock().unwrap().clone();
    let sent_again = format!("{:?}", requests[2].messages);
    let evidence = evidence("query_logs", &json!({ "page": 1 }));
    assert!(sent_again.contains(&format!("[cut to save room: evidence {evidence}")));
    assert_eq!(world.reports().len(), 1);
    assert_eq!(world.reports()[0]["summary"], "Found.");
}
