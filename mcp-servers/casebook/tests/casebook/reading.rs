//! What an agent may read of its case, and what it may not.

use nightshift_domain::{EvidenceId, EvidenceKind};
use nightshift_store::RunbookText;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::fixture::World;

#[sqlx::test(migrations = "../../migrations")]
async fn every_tool_refuses_a_stranger(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    world.server(run).refuses_strangers().await;
    assert_eq!(world.cases.evidence(run.key).await.unwrap(), []);
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_alert_is_shown_and_recorded_with_its_digest(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;

    let answer = world.server(run).call("read_alert", json!({})).await;

    let seen = answer.structured();
    assert_eq!(seen["answer"]["alert"], json!(run.alert));
    assert_eq!(seen["answer"]["title"], "ledger is slow");
    let recorded = world.cases.evidence(run.key).await.unwrap();
    assert_eq!(recorded.len(), 1);
    assert_eq!(seen["evidence"], json!(recorded[0].id));
    assert_eq!(recorded[0].content, seen["answer"]);
    assert_eq!(recorded[0].tool, "casebook.read_alert");
    assert_eq!(recorded[0].kind, EvidenceKind::Case);
    let text = serde_json::to_string(&recorded[0].content).unwrap();
    assert_eq!(
        recorded[0].digest,
        format!("{:x}", Sha256::digest(text.as_bytes()))
    );
    assert!(world.events(run).await.contains(&"evidence".to_owned()));
}

#[sqlx::test(migrations = "../../migrations")]
async fn neighbours_are_near_in_time_and_of_the_same_tenant(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let other = world.tenant("globex").await;
    let run = world.run(tenant, "ledger").await;
    let far = world.alert(tenant, "far", -14 * 60).await;
    let near = world.alert(tenant, "near", 60).await;
    world.alert(tenant, "too-far", 16 * 60).await;
    world.alert(other, "foreign", 0).await;

    let answer = world
        .server(run)
        .call("list_related_alerts", json!({}))
        .await;

    let alerts = answer.structured()["answer"]["alerts"]
        .as_array()
        .unwrap()
        .clone();
    let ids: Vec<_> = alerts.iter().map(|alert| alert["alert"].clone()).collect();
    assert_eq!(ids, [json!(near.id), json!(far.id)]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_runbook_is_the_services_or_the_tenants_or_ours(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let other = world.tenant("globex").await;
    let run = world.run(tenant, "ledger").await;
    let server = world.server(run);
    let name = async || {
        let answer = server.call("read_runbook", json!({})).await;
        answer.structured()["answer"]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let put = async |tenant, service, name: &str| {
        let runbook = RunbookText {
            name: name.to_owned(),
            body: "look".to_owned(),
        };
        let mut tx = world.store.begin().await.unwrap();
        tx.put_runbook(tenant, service, &runbook).await.unwrap();
        tx.commit().await.unwrap();
    };

    put(other, None, "foreign").await;
    put(tenant, Some("web"), "of another service").await;
    assert_eq!(name().await, "default");
    put(tenant, None, "of the tenant").await;
    assert_eq!(name().await, "of the tenant");
    put(tenant, Some("ledger"), "of the service").await;
    assert_eq!(name().await, "of the service");
}

#[sqlx::test(migrations = "../../migrations")]
async fn evidence_of_others_does_not_exist(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let other = world.tenant("globex").await;
    let run = world.run(tenant, "ledger").await;
    let foreign = world.run(other, "ledger").await;
    let sibling = world.run(tenant, "web").await;
    let own = world
        .observed(run, EvidenceKind::Logs, json!({ "service": "ledger" }))
        .await;
    let foreign = world
        .observed(foreign, EvidenceKind::Logs, json!({ "secret": 1 }))
        .await;
    let sibling = world
        .observed(sibling, EvidenceKind::Logs, json!({ "secret": 2 }))
        .await;
    let server = world.server(run);

    let read = server
        .call("read_evidence", json!({ "evidence": own }))
        .await;
    assert_eq!(read.structured()["content"], json!({ "service": "ledger" }));
    let unknown = server
        .call(
            "read_evidence",
            json!({ "evidence": EvidenceId::generate() }),
        )
        .await;
    for id in [foreign, sibling] {
        let refused = server
            .call("read_evidence", json!({ "evidence": id }))
            .await;
        assert_eq!(refused.failure(), unknown.failure());
    }
    let listed = server.call("list_evidence", json!({})).await;
    let listed = listed.structured()["evidence"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["evidence"], json!(own));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_list_of_evidence_that_is_too_long_says_what_it_left_out(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    for _ in 0..4 {
        let call = nightshift_protocol::run::RecordEvidence {
            epoch: run.key.epoch,
            kind: EvidenceKind::Logs,
            tool: "telemetry.query_logs".to_owned(),
            arguments: json!({ "contains": "x".repeat(20_000) }),
            content: json!({}),
            truncated: false,
            took_ms: 1,
        };
        world
            .cases
            .record("telemetry", run.key.investigation, call)
            .await
            .unwrap();
    }
    let answer = world.server(run).call("list_evidence", json!({})).await;
    let rows = answer.structured()["evidence"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 4);
    assert!(answer.text.len() < 20_000, "{}", answer.text.len());
    assert!(
        rows.iter()
            .all(|row| row["arguments"]["left_out_bytes"].as_u64() > Some(20_000))
    );
}
