//! Taking alerts in.

use anyhow::Result;
use nightshift_domain::alert::AlertStatus;
use nightshift_engine::intake::Taken;
use nightshift_tests::World;
use sqlx::PgPool;

async fn count(pg: &PgPool, what: &str) -> Result<i64> {
    Ok(
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {what}")))
            .fetch_one(pg)
            .await?,
    )
}

#[sqlx::test(migrations = "../migrations")]
async fn the_same_delivery_twenty_times_at_once_makes_one_investigation(pg: PgPool) -> Result<()> {
    let world = std::sync::Arc::new(World::builder().build(pg).await?);

    let mut deliveries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let world = std::sync::Arc::clone(&world);
        deliveries.spawn(async move {
            world
                .deliver(0, "delivery", "disk", AlertStatus::Firing)
                .await
        });
    }
    let mut opened = Vec::new();
    let mut investigations = std::collections::BTreeSet::new();
    while let Some(accepted) = deliveries.join_next().await {
        let accepted = accepted??;
        investigations.insert(accepted.investigation);
        if accepted.disposition == Taken::Opened {
            opened.push(accepted);
        }
    }

    assert_eq!(opened.len(), 1);
    assert_eq!(
        investigations.len(),
        1,
        "every answer names the same investigation"
    );
    assert_eq!(count(&world.pg, "investigations").await?, 1);
    assert_eq!(count(&world.pg, "alerts").await?, 1);
    assert_eq!(count(&world.pg, "tickets").await?, 1);
    assert_eq!(
        count(&world.pg, "outbox where kind = 'claim_wake'").await?,
        1
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_renotification_is_linked_and_starts_nothing(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let first = world.alert("disk").await?;

    let again = world
        .deliver(0, "second", "disk", AlertStatus::Firing)
        .await?;
    let over = world
        .deliver(0, "third", "disk", AlertStatus::Resolved)
        .await?;

    assert_eq!(again.disposition, Taken::Linked);
    assert_eq!(again.investigation, Some(first));
    assert_eq!(over.disposition, Taken::Resolved);
    assert_eq!(count(&world.pg, "alerts").await?, 3, "every alert is kept");
    assert_eq!(
        count(&world.pg, "incidents where status = 'resolved'").await?,
        1
    );
    assert_eq!(count(&world.pg, "investigations").await?, 1);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn the_same_thing_at_two_tenants_is_two_incidents(pg: PgPool) -> Result<()> {
    let world = World::builder().tenants(2).build(pg).await?;
    let ours = world.alert_of(0, "disk").await?;
    let theirs = world.alert_of(1, "disk").await?;
    assert_ne!(ours, theirs);
    assert_eq!(count(&world.pg, "incidents").await?, 2);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn above_the_queue_limit_an_alert_is_kept_and_says_so(pg: PgPool) -> Result<()> {
    let world = World::builder().max_queued(1).build(pg).await?;
    world.alert("one").await?;

    let second = world.deliver(0, "two", "two", AlertStatus::Firing).await?;

    assert_eq!(second.disposition, Taken::OverLimit);
    assert!(second.alert.is_some() && second.incident.is_some());
    assert_eq!(count(&world.pg, "alerts").await?, 2);
    assert_eq!(count(&world.pg, "investigations").await?, 1);
    Ok(())
}
