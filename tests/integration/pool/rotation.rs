//! One image replaced by another.

use anyhow::Result;
use chrono::TimeDelta;
use nightshift_domain::sandbox::SandboxState;
use nightshift_engine::{attest::admit, claim::claim, refill::refill, sweep::sweep};
use nightshift_tests::{Fault, World};
use sqlx::PgPool;

use super::{count, count_of, point_at, states};

const OLD: &str = "sha256:5a5a";
const NEW: &str = "sha256:6b6b";

#[sqlx::test(migrations = "../migrations")]
async fn the_new_image_is_made_first_then_the_old_stock_goes_and_what_is_held_stays(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().ready(4).build(pg).await?;
    let held = world.alert("held").await?;
    world.settle().await?;
    let before = world.investigation(held).await?.state.run().unwrap();
    assert_eq!(count_of(&world, OLD, "ready").await?, 4);

    point_at(&world, NEW).await?;
    refill(&world.platform, world.pool).await?;
    assert_eq!(count_of(&world, NEW, "planned").await?, 4);
    assert_eq!(
        count_of(&world, OLD, "ready").await?,
        4,
        "until the new is there"
    );
    world.settle().await?;

    assert_eq!(count_of(&world, NEW, "ready").await?, 4);
    assert_eq!(count_of(&world, OLD, "ready").await?, 0);
    let after = world.investigation(held).await?.state.run().unwrap();
    assert_eq!(after, before, "whoever holds one keeps it");
    let mut tx = world.store().begin().await?;
    let sandbox = tx.sandbox(after.sandbox).await?.unwrap();
    assert!(matches!(sandbox.state, SandboxState::Claimed { .. }));
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn the_newest_image_is_granted_first_and_an_older_one_rather_than_none(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().ready(2).build(pg).await?;
    point_at(&world, NEW).await?;
    refill(&world.platform, world.pool).await?;
    // One of the new image got ready; the old stock is older, and as good as ever.
    world.step().await?;
    assert_eq!(count_of(&world, NEW, "ready").await?, 1);

    world.alert("first").await?;
    claim(&world.platform, world.pool).await?;
    assert_eq!(count_of(&world, NEW, "claimed").await?, 1);
    world.alert("second").await?;
    claim(&world.platform, world.pool).await?;
    assert_eq!(count_of(&world, OLD, "claimed").await?, 1);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_new_image_that_cannot_be_made_leaves_the_old_one_in_service(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(4).build(pg).await?;
    for _ in 0..200 {
        world.cloud.fail("start", Fault::BadBoot(70));
    }
    point_at(&world, NEW).await?;
    for _ in 0..10 {
        refill(&world.platform, world.pool).await?;
        world.settle().await?;
    }
    assert_eq!(
        count_of(&world, OLD, "ready").await?,
        4,
        "{:?}",
        states(&world).await?
    );
    assert_eq!(count_of(&world, NEW, "gone").await?, 5, "and then no more");

    // What is used of the old stock is made again, of the old image.
    for number in 0..3 {
        world.alert(&format!("alert-{number}")).await?;
    }
    claim(&world.platform, world.pool).await?;
    assert_eq!(count_of(&world, OLD, "claimed").await?, 3);
    refill(&world.platform, world.pool).await?;
    assert_eq!(count_of(&world, OLD, "planned").await?, 3);
    assert_eq!(count_of(&world, NEW, "planned").await?, 0);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn going_back_is_pointing_back(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(3).build(pg).await?;
    point_at(&world, NEW).await?;
    world.fill().await?;
    assert_eq!(count_of(&world, NEW, "ready").await?, 3);

    point_at(&world, OLD).await?;
    world.fill().await?;

    assert_eq!(count_of(&world, OLD, "ready").await?, 3);
    assert_eq!(count_of(&world, NEW, "ready").await?, 0);
    let images: i64 = sqlx::query_scalar("select count(*) from generations")
        .fetch_one(&world.pg)
        .await?;
    assert_eq!(images, 2, "it is the same image as before");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_sandbox_is_admitted_by_the_image_it_was_made_of(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    claim(&world.platform, world.pool).await?;
    point_at(&world, NEW).await?;

    // The statement names the old image, which the pool no longer makes.
    let statement = world.statement(id).await?;
    admit(world.store(), &world.clock, &statement, "key").await?;

    assert_eq!(world.investigation(id).await?.state.name(), "working");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_pool_at_its_ceiling_is_replaced_a_part_at_a_time(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(8).at_most(8).build(pg).await?;
    point_at(&world, NEW).await?;
    let mut least = i64::MAX;
    refill(&world.platform, world.pool).await?;
    assert_eq!(count(&world, "retiring").await?, 1, "one for the first try");
    for _ in 0..500 {
        if world.step().await?.is_none() {
            break;
        }
        let live: i64 = sqlx::query_scalar("select count(*) from sandboxes where state <> 'gone'")
            .fetch_one(&world.pg)
            .await?;
        assert!(live <= 8);
        least = least.min(count(&world, "ready").await?);
    }

    assert_eq!(
        count_of(&world, NEW, "ready").await?,
        8,
        "{:?}",
        states(&world).await?
    );
    assert!(least >= 6, "{least} were ready at the worst time");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn stock_that_was_under_way_when_the_image_changed_goes_in_its_turn(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().build(pg).await?;
    sqlx::query("update pools set target_ready = 4")
        .execute(&world.pg)
        .await?;
    refill(&world.platform, world.pool).await?;
    point_at(&world, NEW).await?;

    for _ in 0..3 {
        world.settle().await?;
        world.clock.advance(TimeDelta::seconds(60));
        sweep(&world.platform).await?;
    }
    world.settle().await?;

    assert_eq!(
        count_of(&world, NEW, "ready").await?,
        4,
        "{:?}",
        states(&world).await?
    );
    assert_eq!(count_of(&world, OLD, "ready").await?, 0);
    Ok(())
}
