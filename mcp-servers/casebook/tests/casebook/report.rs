//! The end of a run's work: settled once, by the start that speaks for the investigation.

use nightshift_casebook::CaseError;
use nightshift_domain::{EvidenceKind, investigation::State, report::ReportDraft};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::fixture::{REST_FOR, Run, World, draft};
use nightshift_mcp_kit::Clock;

async fn two_kinds(world: &World, run: Run) -> Vec<nightshift_domain::EvidenceId> {
    let traces = json!({ "edges": [{ "to": "ledger" }] });
    let logs = json!({ "templates": ["ledger: bank timed out"] });
    vec![
        world.observed(run, EvidenceKind::Traces, traces).await,
        world.observed(run, EvidenceKind::Logs, logs).await,
    ]
}

fn parsed(draft: Value) -> ReportDraft {
    serde_json::from_value(draft).unwrap()
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_report_is_settled_stored_and_ends_the_work(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let bystander = world.run(tenant, "web").await;
    let before = world.state(bystander).await;
    let evidence = two_kinds(&world, run).await;

    let report = draft(&evidence, 0.99);
    let answer = world
        .server(run)
        .call("submit_report", json!({ "report": report }))
        .await;

    let accepted = answer.structured();
    assert_eq!(accepted["outcome"], "root_cause_found");
    assert_eq!(
        accepted["confidence"], 0.8,
        "two kinds of telemetry allow no more"
    );
    let State::Resting(rest) = world.state(run).await else {
        panic!("it does not rest")
    };
    assert_eq!(rest.epoch, run.key.epoch);
    assert_eq!(rest.deadline_at, world.clock.now() + REST_FOR);
    let stored = world
        .store
        .report_of(tenant, run.key.investigation)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.epoch, run.key.epoch);
    assert_eq!(stored.report.evidence.len(), 2);
    assert_eq!(world.steps().await, ["rest"]);
    assert!(
        world
            .events(run)
            .await
            .ends_with(&["settled".to_owned(), "reported".to_owned()])
    );
    assert_eq!(world.state(bystander).await, before);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_sender_that_wants_to_be_told_is_told_of_its_own_reports_once(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let bystander = world.run(tenant, "web").await;
    sqlx::query(
        "update endpoints e set report_url = 'https://hooks.test/'
           from deliveries d, alerts a
          where d.endpoint_id = e.id and a.delivery_id = d.id and a.id = $1",
    )
    .bind(run.alert.as_uuid())
    .execute(&world.pg)
    .await
    .unwrap();

    let evidence = two_kinds(&world, run).await;
    for run in [run, run, bystander] {
        world
            .cases
            .submit(run.key, &parsed(draft(&evidence, 0.5)))
            .await
            .unwrap();
    }

    assert_eq!(world.steps().await, ["rest", "write_back", "rest"]);
}

/// Found by the crash explorer: a tenant at its limit waited for the sweep although one of its own
/// investigations had reported.
#[sqlx::test(migrations = "../../migrations")]
async fn a_report_wakes_the_coordinator_because_its_tenant_may_hold_one_more(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    sqlx::query(
        "insert into tickets (investigation_id, tenant_id, pool_id, state, created_at)
         values ($1, $2, $3, 'waiting', now())",
    )
    .bind(run.key.investigation.as_uuid())
    .bind(tenant.as_uuid())
    .bind(world.pool.as_uuid())
    .execute(&world.pg)
    .await
    .unwrap();
    let evidence = two_kinds(&world, run).await;

    let report = json!({ "report": draft(&evidence, 0.7) });
    world.server(run).call("submit_report", report).await;

    assert_eq!(world.steps().await, ["rest", "claim_wake"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn submitting_again_answers_the_same_and_changes_nothing(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let evidence = two_kinds(&world, run).await;
    let server = world.server(run);
    let first = server
        .call("submit_report", json!({ "report": draft(&evidence, 0.7) }))
        .await;
    let after = world.investigation(run.key.investigation).await;
    let events = world.events(run).await;
    world.clock.advance(5);

    let again = server
        .call("submit_report", json!({ "report": draft(&[], 0.1) }))
        .await;

    assert_eq!(again.structured(), first.structured());
    assert_eq!(world.investigation(run.key.investigation).await, after);
    assert_eq!(world.events(run).await, events);
    assert_eq!(world.steps().await, ["rest"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn of_two_reports_at_once_one_counts(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let evidence = two_kinds(&world, run).await;
    let submit = async |confidence| {
        world
            .cases
            .submit(run.key, &parsed(draft(&evidence, confidence)))
            .await
    };

    let (one, two, three) = tokio::join!(submit(0.5), submit(0.6), submit(0.7));

    let one = one.unwrap();
    assert_eq!(two.unwrap(), one);
    assert_eq!(three.unwrap(), one);
    assert_eq!(world.steps().await, ["rest"]);
    let reported = world
        .events(run)
        .await
        .into_iter()
        .filter(|kind| kind == "reported")
        .count();
    assert_eq!(reported, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_heartbeat_in_between_does_not_lose_the_report(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    for _ in 0..10 {
        let _ = tokio::join!(
            world.cases.heartbeat(run.key),
            world.cases.heartbeat(run.key)
        );
    }
    let draft = &parsed(draft(&[], 0.5));
    let (_, _, report) = tokio::join!(
        world.cases.heartbeat(run.key),
        world.cases.heartbeat(run.key),
        world.cases.submit(run.key, draft),
    );
    report.unwrap();
    assert!(matches!(world.state(run).await, State::Resting(_)));
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_older_start_is_refused_and_the_newer_one_is_heard(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let zombie = world.run(tenant, "ledger").await;
    let evidence = two_kinds(&world, zombie).await;
    world
        .transit(
            zombie.key.investigation,
            nightshift_domain::Investigation::restart,
        )
        .await;
    let mut current = zombie;
    current.key.epoch = world.attest(zombie.key.investigation).await;
    let before = world.investigation(zombie.key.investigation).await;
    let report = json!({ "report": draft(&evidence, 0.7) });

    let refused = world
        .server(zombie)
        .call("submit_report", report.clone())
        .await;
    assert_eq!(refused.status, 401);
    // Even behind the gate: the run may have been superseded after the gate let it in.
    let error = world
        .cases
        .submit(zombie.key, &parsed(draft(&evidence, 0.7)))
        .await
        .unwrap_err();
    assert!(matches!(error, CaseError::NotLive), "{error:?}");
    assert_eq!(world.investigation(zombie.key.investigation).await, before);
    assert_eq!(world.steps().await, [""; 0]);

    let heard = world.server(current).call("submit_report", report).await;
    assert_eq!(heard.structured()["outcome"], "root_cause_found");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_lost_sandbox_is_refused_at_the_epoch_of_its_successor(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let lost = world.run(tenant, "ledger").await;
    let id = lost.key.investigation;
    world.lose(lost).await;
    let mut current = lost;
    current.key.sandbox = world.claim(id).await;
    current.key.epoch = world.attest(id).await;
    assert_eq!(current.key.epoch, lost.key.epoch, "the point of this test");

    let refused = world.server(lost).call("read_alert", json!({})).await;
    assert_eq!(refused.status, 401);
    let error = world
        .cases
        .submit(lost.key, &parsed(draft(&[], 0.7)))
        .await
        .unwrap_err();
    assert!(matches!(error, CaseError::NotLive), "{error:?}");
    assert!(!world.cases.heartbeat(lost.key).await.unwrap().go_on);

    world
        .server(current)
        .call("read_alert", json!({}))
        .await
        .worked();
    assert!(world.cases.heartbeat(current.key).await.unwrap().go_on);
}

#[sqlx::test(migrations = "../../migrations")]
async fn claims_on_evidence_of_others_are_dropped(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let other = world.tenant("globex").await;
    let run = world.run(tenant, "ledger").await;
    let foreign = world.run(other, "ledger").await;
    let evidence = two_kinds(&world, foreign).await;
    let mut report = draft(&evidence, 0.9);
    report["related_alerts"] = json!([{ "alert": foreign.alert, "why": "same time" }]);

    let answer = world
        .server(run)
        .call("submit_report", json!({ "report": report }))
        .await;

    assert_eq!(answer.structured()["outcome"], "inconclusive");
    let stored = world
        .store
        .report_of(tenant, run.key.investigation)
        .await
        .unwrap()
        .unwrap();
    assert!(stored.report.root_cause.is_none());
    assert!(stored.report.evidence.is_empty());
    assert!(stored.report.related_alerts.is_empty());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_report_carries_no_characters_that_terminals_act_on(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let mut report = draft(&[], 0.5);
    report["summary"] = json!("all \u{1b}[2Jfine\u{0}\u{202e}");
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
    assert_eq!(stored.report.summary, "all fine");
}
