//! Handing steps over.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use chrono::TimeDelta;
use nightshift_engine::{
    Clock,
    relay::{self, InProcess},
};
use nightshift_store::Settlement;
use nightshift_tests::{Fault, World};
use sqlx::PgPool;
use tokio::sync::watch;

/// Waits until `id` is in `state`, at most ten seconds.
async fn becomes(
    world: &World,
    id: nightshift_domain::InvestigationId,
    state: &str,
) -> Result<bool> {
    for _ in 0..1_000 {
        if world.investigation(id).await?.state.name() == state {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(false)
}

#[sqlx::test(migrations = "../migrations")]
async fn an_accepted_alert_is_started_without_anyone_asking(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let (stop, stopped) = watch::channel(false);
    let carrier = Arc::new(InProcess::new(world.platform.clone()));
    let relay = tokio::spawn(relay::run(world.platform.clone(), carrier, stopped));

    let id = world.alert("one").await?;

    assert!(becomes(&world, id, "starting").await?);
    stop.send(true)?;
    relay.await?;
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn what_was_written_while_no_relay_ran_is_found_when_one_connects(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    let (stop, stopped) = watch::channel(false);
    let carrier = Arc::new(InProcess::new(world.platform.clone()));

    let relay = tokio::spawn(relay::run(world.platform.clone(), carrier, stopped));

    assert!(becomes(&world, id, "starting").await?);
    stop.send(true)?;
    relay.await?;
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_step_whose_relay_died_is_taken_again_after_its_lease(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    world.alert("one").await?;
    let lease = TimeDelta::seconds(60);

    let taken = world
        .store()
        .lease_steps(world.clock.now(), lease, 10)
        .await?;
    let meanwhile = world
        .store()
        .lease_steps(world.clock.now(), lease, 10)
        .await?;
    world.clock.advance(TimeDelta::seconds(61));
    let again = world
        .store()
        .lease_steps(world.clock.now(), lease, 10)
        .await?;

    assert_eq!(taken.len(), 1);
    assert!(meanwhile.is_empty());
    assert_eq!(again.len(), 1);
    assert_eq!(again.first().map(|step| step.attempt), Some(2));
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_step_that_keeps_failing_is_parked_with_its_error(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(0).build(pg).await?;
    for _ in 0..100 {
        world.cloud.fail("make_app", Fault::EffectThenTimeout);
    }
    world.alert("one").await?;
    let mut last = None;
    for _ in 0..60 {
        while let Some(settlement) = world.step().await? {
            last = Some(settlement);
        }
        if matches!(last, Some(Settlement::Dead { .. })) {
            break;
        }
        world.clock.advance(TimeDelta::seconds(10));
    }

    let (kind, error): (String, String) =
        sqlx::query_as("select kind, last_error from outbox where dead_at is not null")
            .fetch_one(&world.pg)
            .await?;
    assert_eq!(kind, "provision");
    assert!(error.contains("took effect is unknown"), "{error}");
    Ok(())
}
