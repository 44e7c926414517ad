//! Images and regions in which nothing can be made.

use anyhow::Result;
use chrono::TimeDelta;
use nightshift_engine::{Clock, sweep::sweep};
use nightshift_tests::{Fault, World};
use sqlx::PgPool;

use super::count;

/// Lets `minutes` pass, with a sweep in each.
async fn pass(world: &World, minutes: usize) -> Result<()> {
    for _ in 0..minutes {
        world.clock.advance(TimeDelta::seconds(60));
        sweep(&world.platform).await?;
        world.settle().await?;
    }
    Ok(())
}

async fn breaker(world: &World) -> Result<(String, i32, Option<String>)> {
    Ok(
        sqlx::query_as("select state, trips, last_failure from breakers")
            .fetch_one(&world.pg)
            .await?,
    )
}

#[sqlx::test(migrations = "../migrations")]
async fn one_probe_closes_it_when_the_image_can_be_made_again(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    sqlx::query("update pools set target_ready = 12")
        .execute(&world.pg)
        .await?;
    for _ in 0..5 {
        world.cloud.fail("start", Fault::BadBoot(70));
    }
    world.fill().await?;
    let (state, trips, why) = breaker(&world).await?;
    assert_eq!((state.as_str(), trips), ("open", 1));
    assert!(why.is_some_and(|why| why.contains("exit code 70")));
    assert_eq!(world.cloud.calls("make_machine"), 5);

    world.clock.advance(TimeDelta::seconds(31));
    world.settle().await?;

    assert_eq!(breaker(&world).await?.0, "closed");
    assert_eq!(
        count(&world, "ready").await?,
        12,
        "the step at its end was enough"
    );
    assert_eq!(world.cloud.calls("make_machine"), 17);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_full_region_is_asked_again_after_a_while_and_not_by_each_sandbox(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().build(pg).await?;
    sqlx::query("update pools set target_ready = 5")
        .execute(&world.pg)
        .await?;
    for _ in 0..8 {
        world.cloud.fail("make_volume", Fault::RegionFull);
    }
    world.fill().await?;
    assert_eq!(breaker(&world).await?.0, "open");
    let asked = world.cloud.calls("make_volume");
    assert_eq!(asked, 5, "those that were under way");

    pass(&world, 20).await?;

    assert_eq!(count(&world, "ready").await?, 5);
    assert!(world.cloud.calls("make_volume") <= 5 + 3 + 5);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn making_that_never_ends_counts_as_failed_too(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    sqlx::query("update pools set target_ready = 5")
        .execute(&world.pg)
        .await?;
    world.fill().await?;
    sqlx::query("update sandboxes set state = 'provisioning', ready_at = null, deadline_at = $1")
        .bind(world.clock.now())
        .execute(&world.pg)
        .await?;
    sqlx::query("delete from breakers")
        .execute(&world.pg)
        .await?;

    pass(&world, 1).await?;

    let recent: String = sqlx::query_scalar("select recent from breakers")
        .fetch_one(&world.pg)
        .await?;
    assert!(recent.starts_with("xxxxx"), "{recent}");
    Ok(())
}
