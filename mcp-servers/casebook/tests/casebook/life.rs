//! Heartbeats and questions from people.

use nightshift_domain::{
    Investigation, MessageId,
    investigation::{HEARTBEAT_PATIENCE, State},
};
use nightshift_mcp_kit::Clock;
use serde_json::json;
use sqlx::PgPool;

use crate::fixture::{Run, World, draft};

async fn ask(world: &World, run: Run, text: &str) -> MessageId {
    let mut tx = world.store.begin().await.unwrap();
    let now = world.clock.now();
    let key = run.key;
    let id = tx
        .add_message(key.tenant, key.investigation, "ana", text, now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    id
}

/// Reports, and wakes the run again for a question, as a new start.
async fn resumed(world: &World, mut run: Run) -> Run {
    let report = json!({ "report": draft(&[], 0.5) });
    world
        .server(run)
        .call("submit_report", report)
        .await
        .worked();
    world
        .transit(run.key.investigation, Investigation::resume)
        .await;
    run.key.epoch = world.attest(run.key.investigation).await;
    run
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_heartbeat_moves_the_deadline_and_tells_of_questions(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    world.clock.advance(20);
    let server = world.server(run);

    let beat = server.call("heartbeat", json!({})).await;
    assert_eq!(
        beat.structured(),
        &json!({ "go_on": true, "messages_waiting": 0 })
    );
    let State::Working(at_work) = world.state(run).await else {
        panic!("it does not work")
    };
    assert_eq!(at_work.deadline_at, world.clock.now() + HEARTBEAT_PATIENCE);

    ask(&world, run, "is it over?").await;
    let beat = server.call("heartbeat", json!({})).await;
    assert_eq!(
        beat.structured(),
        &json!({ "go_on": true, "messages_waiting": 1 })
    );
    let rows: i64 = sqlx::query_scalar("select count(*) from tool_calls")
        .fetch_one(&world.pg)
        .await
        .unwrap();
    assert_eq!(rows, 0, "heartbeats fill no audit");
}

#[sqlx::test(migrations = "../../migrations")]
async fn after_the_report_a_heartbeat_says_stop_and_moves_nothing(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let server = world.server(run);
    server
        .call("submit_report", json!({ "report": draft(&[], 0.5) }))
        .await
        .worked();
    let before = world.investigation(run.key.investigation).await;
    world.clock.advance(15);

    let beat = server.call("heartbeat", json!({})).await;

    assert_eq!(beat.structured()["go_on"], false);
    assert_eq!(world.investigation(run.key.investigation).await, before);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_superseded_start_is_told_to_stop(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    world
        .transit(run.key.investigation, Investigation::restart)
        .await;
    assert!(!world.cases.heartbeat(run.key).await.unwrap().go_on);
    assert_eq!(
        world.server(run).call("heartbeat", json!({})).await.status,
        401
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn questions_are_read_and_answered_once(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let first = ask(&world, run, "why?").await;
    let second = ask(&world, run, "since when?").await;
    let server = world.server(run);
    let waiting = async || {
        let inbox = server.call("read_inbox", json!({})).await;
        let messages = inbox.structured()["messages"].as_array().unwrap().clone();
        messages
            .into_iter()
            .map(|message| message["message"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(waiting().await, [json!(first), json!(second)]);

    let answer = |text: &str| json!({ "message": first, "text": text });
    server
        .call("answer_message", answer("the bank\u{7}"))
        .await
        .worked();
    server
        .call("answer_message", answer("changed my mind"))
        .await
        .worked();

    assert_eq!(waiting().await, [json!(second)]);
    let stored = world
        .store
        .messages_of(tenant, run.key.investigation)
        .await
        .unwrap();
    assert_eq!(stored[0].answer.as_deref(), Some("the bank"));
    assert!(
        matches!(world.state(run).await, State::Working(_)),
        "it has not reported yet"
    );
    let empty = server.call("answer_message", answer("  ")).await;
    assert!(
        empty.failure().contains("between 1 and"),
        "{}",
        empty.failure()
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn questions_to_others_do_not_exist(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let sibling = world.run(tenant, "web").await;
    let id = ask(&world, sibling, "why?").await;
    let server = world.server(run);

    let answer = server
        .call(
            "answer_message",
            json!({ "message": id, "text": "because" }),
        )
        .await;

    assert!(
        answer.failure().contains("no message"),
        "{}",
        answer.failure()
    );
    let stored = world
        .store
        .messages_of(tenant, sibling.key.investigation)
        .await
        .unwrap();
    assert_eq!(stored[0].answer, None);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_run_that_was_woken_for_questions_rests_after_the_last_answer(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = resumed(&world, world.run(tenant, "ledger").await).await;
    let questions = [
        ask(&world, run, "why?").await,
        ask(&world, run, "and now?").await,
    ];
    let server = world.server(run);

    server
        .call(
            "answer_message",
            json!({ "message": questions[0], "text": "a" }),
        )
        .await
        .worked();
    assert!(
        matches!(world.state(run).await, State::Working(_)),
        "a question is left"
    );
    server
        .call(
            "answer_message",
            json!({ "message": questions[1], "text": "b" }),
        )
        .await
        .worked();

    let State::Resting(rest) = world.state(run).await else {
        panic!("it does not rest")
    };
    assert_eq!(rest.epoch, run.key.epoch);
    assert_eq!(world.steps().await, ["rest", "rest"]);
    assert_eq!(
        server.call("heartbeat", json!({})).await.structured()["go_on"],
        false
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_woken_run_may_replace_its_report(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = resumed(&world, world.run(tenant, "ledger").await).await;
    let mut report = draft(&[], 0.5);
    report["summary"] = json!("looked again");
    world
        .server(run)
        .call("submit_report", json!({ "report": report }))
        .await
        .worked();
    let stored = world
        .store
        .report_of(tenant, run.key.investigation)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.epoch, run.key.epoch);
    assert_eq!(stored.report.summary, "looked again");
}
