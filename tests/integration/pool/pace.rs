//! How fast the provider is asked.

use std::sync::Arc;

use anyhow::Result;
use chrono::TimeDelta;
use futures_util::future::try_join_all;
use nightshift_domain::{
    SandboxId,
    bucket::{Bucket, Limits},
};
use nightshift_engine::{Clock, Platform, Settings, provision::provision, refill::refill};
use nightshift_store::{Role, Store};
use nightshift_tests::{Fault, World};
use sqlx::PgPool;

use super::count;

const LIMITS: Limits = Limits {
    burst: 10.0,
    reserve: 4.0,
    fastest: 1.0,
    slowest: 0.1,
    regain: 0.01,
};

/// A world whose provider is asked slowly, with this many sandboxes ready.
async fn slow_world(pg: PgPool, ready: i32) -> Result<World> {
    let mut world = World::builder().build(pg).await?;
    world.platform.settings = Arc::new(Settings {
        limits: LIMITS,
        ..(*world.platform.settings).clone()
    });
    sqlx::query("update pools set target_ready = $1")
        .bind(ready)
        .execute(&world.pg)
        .await?;
    // Known to work, so that only the rate holds it up.
    let mut tx = world.store().begin().await?;
    let pool = tx.pool(world.pool).await?.unwrap();
    let read = tx.breaker(&pool.region, &pool.image).await?;
    let proven = read.breaker.clone().succeeded();
    tx.set_breaker(read, &proven, None).await?;
    tx.commit().await?;
    Ok(world)
}

#[sqlx::test(migrations = "../migrations")]
async fn stock_waits_for_tokens_and_whoever_waits_for_a_start_does_not(pg: PgPool) -> Result<()> {
    let world = slow_world(pg, 20).await?;

    world.fill().await?;
    assert_eq!(count(&world, "ready").await?, 6, "the reserve is left");
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(world.alert(&format!("alert-{number}")).await?);
    }
    world.settle().await?;
    for id in ids {
        assert_eq!(world.investigation(id).await?.state.name(), "starting");
    }
    let made = world.cloud.calls("make_machine");
    assert_eq!(made, 6, "the starts were charged, so stock waits longer");

    for _ in 0..60 {
        world.clock.advance(TimeDelta::seconds(1));
        world.settle().await?;
    }
    let ready = count(&world, "ready").await?;
    assert!(ready >= 20, "{ready}: nobody is forgotten");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn those_who_take_at_once_never_take_more_than_there_is(pg: PgPool) -> Result<()> {
    let world = slow_world(pg.clone(), 30).await?;
    refill(&world.platform, world.pool).await?;
    let planned: Vec<sqlx::types::Uuid> =
        sqlx::query_scalar("select id from sandboxes where state = 'planned'")
            .fetch_all(&world.pg)
            .await?;
    assert_eq!(planned.len(), 30);
    let mut workers: Vec<Platform> = Vec::new();
    for _ in 0..4 {
        let own = Role::Engine.acting(&pg.connect_options(), 10).await?;
        workers.push(Platform {
            store: Store::new(own),
            ..world.platform.clone()
        });
    }

    try_join_all(
        planned
            .iter()
            .zip(workers.iter().cycle())
            .map(|(id, worker)| provision(worker, SandboxId::from(*id))),
    )
    .await?;

    assert_eq!(world.cloud.calls("make_app"), 6);
    assert_eq!(count(&world, "ready").await?, 6);
    assert_eq!(count(&world, "planned").await?, 24);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn the_pause_that_the_provider_asks_for_is_kept_by_everybody(pg: PgPool) -> Result<()> {
    let world = slow_world(pg, 3).await?;
    world.cloud.fail("make_app", Fault::RateLimitedFor(30));

    world.fill().await?;
    let asked = world.cloud.calls("make_app");
    assert_eq!(asked, 1, "the others see that somebody was refused");
    for _ in 0..29 {
        world.clock.advance(TimeDelta::seconds(1));
        world.settle().await?;
    }
    assert_eq!(world.cloud.calls("make_app"), 1);

    world.clock.advance(TimeDelta::seconds(3));
    world.settle().await?;
    assert_eq!(count(&world, "ready").await?, 3);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn what_sql_charges_is_what_the_rule_says(pg: PgPool) -> Result<()> {
    let world = slow_world(pg, 0).await?;
    let mut tx = world.store().begin().await?;
    let pool = tx.pool(world.pool).await?.unwrap();
    let mut bucket = tx.bucket(&pool.region, &LIMITS, world.clock.now()).await?;
    bucket = bucket.refused(None, &LIMITS, world.clock.now());
    tx.set_bucket(&pool.region, &bucket).await?;
    for (after_ms, starts) in [
        (0, 3),
        (1_500, 64),
        (400, 1),
        (90_000, 2),
        (-500, 5),
        (7, 9),
    ] {
        world.clock.advance(TimeDelta::milliseconds(after_ms));
        let now = world.clock.now();
        tx.note_claims(world.pool, starts, &LIMITS, now).await?;
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let charged = bucket.charge(starts as f64, &LIMITS, now);
        bucket = tx.bucket(&pool.region, &LIMITS, now).await?;
        assert!(
            (charged.tokens - bucket.tokens).abs() < 1e-6,
            "{charged:?} {bucket:?}"
        );
        assert_eq!(
            Bucket {
                tokens: 0.0,
                ..charged
            },
            Bucket {
                tokens: 0.0,
                ..bucket
            }
        );
    }
    Ok(())
}
