//! Pairing tickets with sandboxes.

use anyhow::Result;
use chrono::TimeDelta;
use nightshift_domain::{Epoch, investigation::State};
use nightshift_engine::{Clock, attest::admit, claim::claim, dispatch::dispatch, refill::refill};
use nightshift_tests::{Fault, World};
use sqlx::PgPool;

async fn states(world: &World) -> Result<Vec<(String, i64)>> {
    Ok(
        sqlx::query_as("select state, count(*) from investigations group by 1 order by 1")
            .fetch_all(&world.pg)
            .await?,
    )
}

#[sqlx::test(migrations = "../migrations")]
async fn a_tenants_alerts_are_served_first_come_first_served(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(2).at_most(2).build(pg).await?;
    let first = world.alert("one").await?;
    let second = world.alert("two").await?;
    let third = world.alert("three").await?;

    claim(&world.platform, world.pool).await?;

    assert_eq!(world.investigation(first).await?.state.name(), "claimed");
    assert_eq!(world.investigation(second).await?.state.name(), "claimed");
    assert_eq!(world.investigation(third).await?.state.name(), "queued");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_loud_tenant_does_not_make_a_quiet_one_wait(pg: PgPool) -> Result<()> {
    let world = World::builder()
        .ready(2)
        .at_most(2)
        .tenants(2)
        .build(pg)
        .await?;
    for number in 0..5 {
        world.alert_of(0, &format!("loud-{number}")).await?;
    }
    let quiet = world.alert_of(1, "quiet").await?;

    claim(&world.platform, world.pool).await?;

    assert_eq!(world.investigation(quiet).await?.state.name(), "claimed");
    assert_eq!(
        states(&world).await?,
        [("claimed".into(), 2), ("queued".into(), 4)]
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_tenant_at_its_limit_waits_without_blocking_others(pg: PgPool) -> Result<()> {
    let world = World::builder()
        .ready(4)
        .tenants(2)
        .max_running(1)
        .build(pg)
        .await?;
    world.alert_of(0, "a").await?;
    let waits = world.alert_of(0, "b").await?;
    let served = world.alert_of(1, "c").await?;

    claim(&world.platform, world.pool).await?;

    assert_eq!(world.investigation(waits).await?.state.name(), "queued");
    assert_eq!(world.investigation(served).await?.state.name(), "claimed");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn whoever_rests_does_not_use_up_the_tenants_limit(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(2).max_running(1).build(pg).await?;
    let first = world.alert("a").await?;
    claim(&world.platform, world.pool).await?;
    admit(
        world.store(),
        &world.clock,
        &world.statement(first).await?,
        "key",
    )
    .await?;
    let now = world.clock.now();
    let working = world.investigation(first).await?;
    let mut tx = world.store().begin().await?;
    tx.apply(working.rest(Epoch(1), now + TimeDelta::hours(1))?, now)
        .await?;
    tx.commit().await?;

    let second = world.alert("b").await?;
    claim(&world.platform, world.pool).await?;

    assert_eq!(world.investigation(second).await?.state.name(), "claimed");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn coordinators_that_run_at_once_never_share_a_sandbox(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(6).at_most(6).build(pg).await?;
    for number in 0..10 {
        world.alert(&format!("alert-{number}")).await?;
    }

    let claims = (0..4).map(|_| claim(&world.platform, world.pool));
    let (a, b, c, d) = {
        let mut claims = claims;
        let mut next = || {
            claims
                .next()
                .ok_or_else(|| anyhow::anyhow!("four were made"))
        };
        tokio::join!(next()?, next()?, next()?, next()?)
    };
    a?;
    b?;
    c?;
    d?;

    let shared: i64 = sqlx::query_scalar(
        "select count(*) from (select sandbox_id from investigations where sandbox_id is not null
                                group by 1 having count(*) > 1) shared",
    )
    .fetch_one(&world.pg)
    .await?;
    assert_eq!(shared, 0);
    assert_eq!(
        states(&world).await?,
        [("claimed".into(), 6), ("queued".into(), 4)]
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn whoever_finds_the_pool_empty_waits_and_is_woken_when_one_is_ready(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let waits = world.alert("one").await?;

    // The wake finds nothing ready, plans a sandbox for whoever waits, and its `ready` wakes the claim.
    world.settle().await?;

    let found = world.investigation(waits).await?;
    assert!(
        matches!(found.state, State::Starting(run) if run.epoch == Epoch(1)),
        "{found:?}"
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_pool_with_less_room_than_it_wants_still_serves_whoever_waits(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(3).at_most(5).build(pg).await?;
    for number in 0..3 {
        world.alert(&format!("alert-{number}")).await?;
    }
    claim(&world.platform, world.pool).await?;
    let last = world.alert("last").await?;

    refill(&world.platform, world.pool).await?;
    world.settle().await?;

    assert_eq!(world.investigation(last).await?.state.name(), "starting");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_sandbox_that_dies_before_its_start_costs_the_ticket_no_place(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).at_most(1).build(pg).await?;
    let first = world.alert("one").await?;
    let second = world.alert("two").await?;
    claim(&world.platform, world.pool).await?;
    let run = world
        .investigation(first)
        .await?
        .state
        .run()
        .expect("it was claimed");
    world.cloud.fail("start", Fault::HostFull);

    dispatch(&world.platform, first, run.sandbox, run.epoch).await?;
    assert_eq!(world.investigation(first).await?.state.name(), "queued");
    world.settle().await?;

    assert_eq!(world.investigation(first).await?.state.name(), "starting");
    assert_eq!(world.investigation(second).await?.state.name(), "queued");
    assert_eq!(world.cloud.apps().len(), 1, "the dead one is destroyed");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_repeated_or_outdated_dispatch_starts_nothing(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    claim(&world.platform, world.pool).await?;
    let run = world
        .investigation(id)
        .await?
        .state
        .run()
        .expect("it was claimed");
    let before = world.cloud.calls("start");

    dispatch(&world.platform, id, run.sandbox, Epoch(0)).await?;
    assert_eq!(world.cloud.calls("start") - before, 0);
    dispatch(&world.platform, id, run.sandbox, run.epoch).await?;
    dispatch(&world.platform, id, run.sandbox, run.epoch).await?;
    assert_eq!(world.cloud.calls("start") - before, 1);
    Ok(())
}
