//! Telling the sender of an alert what was found.

use anyhow::{Context, Result};
use chrono::TimeDelta;
use nightshift_domain::{
    Epoch, InvestigationId, Report,
    report::{Impact, Outcome},
};
use nightshift_engine::{
    Clock,
    courier::CourierError,
    write_back::{WriteBackError, write_back},
};
use nightshift_protocol::Step;
use nightshift_tests::World;
use serde_json::Value;
use sqlx::PgPool;

const URL: &str = "https://hooks.test/reports";

fn report(summary: &str) -> Report {
    Report {
        outcome: Outcome::Inconclusive,
        summary: summary.to_owned(),
        root_cause: None,
        impact: Impact {
            summary: "unknown".to_owned(),
            failed_share: None,
            affected: Vec::new(),
            evidence: Vec::new(),
        },
        timeline: Vec::new(),
        findings: Vec::new(),
        ruled_out: Vec::new(),
        related_alerts: Vec::new(),
        next_steps: Vec::new(),
        evidence: Vec::new(),
        dropped: Vec::new(),
    }
}

/// An investigation whose first start has reported, for a sender that wants to be told.
async fn reported(world: &World) -> Result<InvestigationId> {
    let id = world.alert("one").await?;
    let mut tx = world.store().begin().await?;
    assert!(!tx.wants_report(id).await?, "it has not asked yet");
    let endpoint = world.endpoints.first().context("no endpoint")?;
    tx.put_report_url(&endpoint.path_token, Some(URL)).await?;
    assert!(tx.wants_report(id).await?);
    tx.commit().await?;
    save(world, id, 1, "nothing was found").await?;
    Ok(id)
}

async fn save(world: &World, id: InvestigationId, epoch: i64, summary: &str) -> Result<()> {
    let tenant = world.investigation(id).await?.tenant;
    let mut tx = world.store().begin().await?;
    let now = world.clock.now();
    tx.save_report(tenant, id, Epoch(epoch), &report(summary), now)
        .await?;
    tx.enqueue(
        Step::WriteBack { investigation: id },
        &tenant.to_string(),
        now,
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

async fn events(world: &World, id: InvestigationId, kind: &str) -> Result<Vec<Value>> {
    Ok(sqlx::query_scalar(
        "select detail from investigation_events where investigation_id = $1 and kind = $2",
    )
    .bind(id.as_uuid())
    .bind(kind)
    .fetch_all(&world.pg)
    .await?)
}

#[sqlx::test(migrations = "../migrations")]
async fn a_report_is_delivered_once_and_a_repeat_sends_nothing(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = reported(&world).await?;

    world.settle().await?;
    write_back(&world.platform, id).await?;

    let carried = world.post.carried();
    assert_eq!(carried.len(), 1);
    let parcel = carried.first().context("nothing was sent")?;
    assert_eq!(
        (parcel.url.as_str(), parcel.at),
        (URL, world.clock.now().timestamp())
    );
    assert_eq!(parcel.id, format!("{id}-1"));
    assert_eq!(parcel.secret_refs, ["test"]);
    let body: Value = serde_json::from_slice(&parcel.body)?;
    assert_eq!(body["investigation"], id.to_string());
    assert_eq!(body["source_key"], "one");
    assert_eq!(body["report"]["summary"], "nothing was found");
    let told = events(&world, id, "report_delivered").await?;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["status"], 200);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_failing_receiver_gets_the_same_parcel_again_until_it_takes_it(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = reported(&world).await?;
    world.post.answer(500);

    world.settle().await?;
    assert_eq!(world.post.carried().len(), 1);
    assert!(events(&world, id, "report_delivered").await?.is_empty());
    world.clock.advance(TimeDelta::seconds(61));
    world.settle().await?;

    let carried = world.post.carried();
    let [first, second] = &carried[..] else {
        anyhow::bail!("{} parcels", carried.len());
    };
    assert_eq!((&first.id, &first.body), (&second.id, &second.body));
    assert!(first.at < second.at, "each attempt signs its own time");
    assert_eq!(events(&world, id, "report_delivered").await?.len(), 1);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_receiver_that_is_gone_is_noted_and_left_alone(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = reported(&world).await?;
    world.post.answer(410);

    world.settle().await?;
    write_back(&world.platform, id).await?;

    assert_eq!(world.post.carried().len(), 1);
    assert_eq!(events(&world, id, "report_unwanted").await?.len(), 1);
    assert!(events(&world, id, "report_delivered").await?.is_empty());
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_later_starts_report_is_another_parcel(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = reported(&world).await?;
    world.settle().await?;

    save(&world, id, 2, "the cache was cold").await?;
    world.settle().await?;

    let carried = world.post.carried();
    let ids: Vec<&str> = carried.iter().map(|parcel| parcel.id.as_str()).collect();
    assert_eq!(ids, [format!("{id}-1"), format!("{id}-2")]);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn two_that_deliver_at_once_note_it_once(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = reported(&world).await?;

    let (one, other) = tokio::join!(
        write_back(&world.platform, id),
        write_back(&world.platform, id)
    );
    one?;
    other?;

    assert_eq!(events(&world, id, "report_delivered").await?.len(), 1);
    let ids: std::collections::BTreeSet<String> = world
        .post
        .carried()
        .into_iter()
        .map(|parcel| parcel.id)
        .collect();
    assert_eq!(ids.len(), 1, "the receiver can tell that they are the same");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn who_did_not_ask_is_told_nothing_and_a_failure_is_named(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = reported(&world).await?;
    world.post.answer(503);
    let failed = write_back(&world.platform, id).await;
    assert!(matches!(
        failed,
        Err(WriteBackError::Courier(CourierError::Refused(503)))
    ));

    let mut tx = world.store().begin().await?;
    let endpoint = world.endpoints.first().context("no endpoint")?;
    tx.put_report_url(&endpoint.path_token, None).await?;
    tx.commit().await?;
    write_back(&world.platform, id).await?;

    assert_eq!(world.post.carried().len(), 1);
    Ok(())
}
