//! How many sandboxes a pool keeps ready.

use anyhow::Result;
use chrono::TimeDelta;
use nightshift_engine::{Clock, claim::claim, refill::refill};
use nightshift_tests::World;
use sqlx::PgPool;

use super::{count, measured, states};

#[sqlx::test(migrations = "../migrations")]
async fn the_target_grows_with_demand_and_with_the_time_it_takes_to_follow(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().ready(2).build(pg).await?;
    measured(&world, 120, 20).await?;

    world.fill().await?;
    world.fill().await?;

    // Two a second for 20 s are 40, and 15 for their swings, beyond the floor of 2.
    assert_eq!(count(&world, "ready").await?, 57);
    let supply = world
        .store()
        .view_supply(world.pool, world.clock.now())
        .await?
        .unwrap();
    assert_eq!(supply.sizing.target, 57, "it says so");
    assert_eq!(supply.sizing.floor, 2, "and why");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn what_was_granted_is_what_demand_is_measured_by(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(3).build(pg).await?;
    for number in 0..5 {
        world.alert(&format!("alert-{number}")).await?;
    }

    claim(&world.platform, world.pool).await?;
    world.clock.advance(TimeDelta::seconds(20));
    world.settle().await?;

    let counted: Vec<i64> = sqlx::query_scalar("select claims from claim_counts order by at")
        .fetch_all(&world.pg)
        .await?;
    assert_eq!(counted, [3, 2], "three were ready, two were made for it");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn no_demand_takes_a_pool_beyond_its_ceiling(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(2).at_most(10).build(pg).await?;
    measured(&world, 6_000, 60).await?;

    for _ in 0..3 {
        world.fill().await?;
    }

    assert_eq!(count(&world, "ready").await?, 10);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_surplus_is_given_up_only_after_an_hour_and_a_few_at_a_time(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(2).build(pg).await?;
    measured(&world, 120, 20).await?;
    world.fill().await?;
    world.fill().await?;
    let held = world.alert("held").await?;
    claim(&world.platform, world.pool).await?;
    world.settle().await?;
    let before = count(&world, "ready").await?;

    // The storm is over; nothing is given up for an hour.
    world.clock.advance(TimeDelta::minutes(20));
    refill(&world.platform, world.pool).await?;
    world.clock.advance(TimeDelta::minutes(59));
    refill(&world.platform, world.pool).await?;
    assert_eq!(count(&world, "ready").await?, before);

    world.clock.advance(TimeDelta::minutes(1));
    refill(&world.platform, world.pool).await?;
    refill(&world.platform, world.pool).await?;
    assert_eq!(
        count(&world, "retiring").await?,
        8,
        "the next go when these are gone"
    );
    world.settle().await?;

    assert_eq!(
        count(&world, "ready").await?,
        2,
        "{:?}",
        states(&world).await?
    );
    let holder = world.investigation(held).await?;
    assert!(holder.state.run().is_some(), "what is held is no surplus");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_new_storm_within_the_hour_starts_the_wait_anew(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(2).build(pg).await?;
    measured(&world, 60, 20).await?;
    world.fill().await?;
    world.fill().await?;
    let before = count(&world, "ready").await?;
    world.clock.advance(TimeDelta::minutes(20));
    refill(&world.platform, world.pool).await?;

    world.clock.advance(TimeDelta::minutes(40));
    measured(&world, 60, 20).await?;
    refill(&world.platform, world.pool).await?;
    world.clock.advance(TimeDelta::minutes(40));
    refill(&world.platform, world.pool).await?;

    assert_eq!(count(&world, "ready").await?, before);
    Ok(())
}
