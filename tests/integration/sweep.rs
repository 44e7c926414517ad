//! Bringing back what went silent.

use std::time::Duration;

use anyhow::Result;
use chrono::TimeDelta;
use nightshift_domain::SandboxId;
use nightshift_domain::{
    Epoch,
    investigation::{HEARTBEAT_PATIENCE, MAX_RESTARTS, QUEUE_PATIENCE, State},
};
use nightshift_engine::{
    Clock, Platform, attest::admit, provision::app_name, reconcile, sweep::sweep,
};
use nightshift_store::{Role, Store};
use nightshift_tests::{Fault, World};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::timeout;

#[sqlx::test(migrations = "../migrations")]
async fn a_silent_agent_is_started_again_under_the_next_epoch(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    world.settle().await?;
    admit(
        world.store(),
        &world.clock,
        &world.statement(id).await?,
        "key",
    )
    .await?;
    let before = world
        .investigation(id)
        .await?
        .state
        .run()
        .expect("it works");

    world
        .clock
        .advance(HEARTBEAT_PATIENCE + TimeDelta::seconds(1));
    sweep(&world.platform).await?;
    world.settle().await?;

    let after = world.investigation(id).await?;
    let State::Starting(run) = after.state else {
        panic!("{after:?}")
    };
    assert_eq!(run.sandbox, before.sandbox, "the session is on its volume");
    assert_eq!(run.epoch, Epoch(2));
    assert!(
        world.store().live_run(id, Epoch(1)).await?.is_none(),
        "its tokens are worthless"
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn an_agent_that_stays_silent_ends_in_a_stated_reason_and_leaves_nothing(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().ready(0).build(pg).await?;
    let id = world.alert("one").await?;
    for _ in 0..=MAX_RESTARTS {
        world.settle().await?;
        world.clock.advance(TimeDelta::seconds(60));
        sweep(&world.platform).await?;
    }
    world.settle().await?;

    let found = world.investigation(id).await?;
    assert!(matches!(&found.state, State::Failed { reason, .. } if reason.contains("silent")));
    assert_eq!(world.cloud.apps(), Vec::<String>::new());
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_vanished_machine_is_replaced_by_another(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    world.settle().await?;
    let before = world
        .investigation(id)
        .await?
        .state
        .run()
        .expect("it started");
    for app in world.cloud.running() {
        world.cloud.lose_machine(&app);
    }

    world.clock.advance(TimeDelta::seconds(60));
    sweep(&world.platform).await?;
    world.settle().await?;

    let after = world
        .investigation(id)
        .await?
        .state
        .run()
        .expect("it started again");
    assert_ne!(after.sandbox, before.sandbox);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_rested_investigation_is_concluded_and_its_sandbox_destroyed(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let id = world.alert("one").await?;
    world.settle().await?;
    admit(
        world.store(),
        &world.clock,
        &world.statement(id).await?,
        "key",
    )
    .await?;
    let now = world.clock.now();
    let working = world.investigation(id).await?;
    let mut tx = world.store().begin().await?;
    tx.apply(working.rest(Epoch(1), now + TimeDelta::seconds(30))?, now)
        .await?;
    tx.commit().await?;

    world.clock.advance(TimeDelta::seconds(31));
    sweep(&world.platform).await?;
    world.settle().await?;

    assert_eq!(world.investigation(id).await?.state.name(), "concluded");
    assert_eq!(
        world.cloud.apps(),
        Vec::<String>::new(),
        "no machine, volume or app is left"
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn rows_that_cannot_be_moved_hold_up_neither_the_sweep_nor_those_behind_them(
    pg: PgPool,
) -> Result<()> {
    // More than are looked at in one transaction.
    const STUCK: usize = 101;
    let world = World::builder().max_queued(200).build(pg).await?;
    for number in 0..STUCK {
        world.alert(&format!("stuck-{number}")).await?;
    }
    world.clock.advance(TimeDelta::seconds(1));
    let last = world.alert("last").await?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "create function stay() returns trigger language plpgsql as 'begin return old; end';
         create trigger stay before update on investigations for each row
           when (old.id <> '{}') execute function stay();",
        last.as_uuid()
    )))
    .execute(&world.pg)
    .await?;

    world.clock.advance(QUEUE_PATIENCE + TimeDelta::seconds(1));
    let ended = timeout(Duration::from_mins(1), sweep(&world.platform)).await;

    let swept = ended.expect("the sweep goes on for ever")?;
    assert_eq!(
        swept.investigations,
        STUCK + 1,
        "each row is looked at once"
    );
    let now = world.clock.now();
    let overdue: i64 =
        sqlx::query_scalar("select count(*) from investigations where deadline_at <= $1")
            .bind(now)
            .fetch_one(&world.pg)
            .await?;
    assert_eq!(usize::try_from(overdue)?, STUCK);
    let deadline_at = world.investigation(last).await?.state.deadline_at();
    assert!(deadline_at > Some(now), "those behind are moved");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn the_longest_rested_gives_way_to_whoever_waits(pg: PgPool) -> Result<()> {
    let world = World::builder().at_most(1).build(pg).await?;
    let first = world.alert("one").await?;
    world.settle().await?;
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

    let second = world.alert("two").await?;
    world.settle().await?;

    assert_eq!(world.investigation(first).await?.state.name(), "concluded");
    assert_eq!(world.investigation(second).await?.state.name(), "starting");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_sandbox_that_fails_its_self_check_is_destroyed_and_another_is_made(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().build(pg).await?;
    world.cloud.fail("start", Fault::BadBoot(3));
    let id = world.alert("one").await?;

    world.settle().await?;

    assert_eq!(world.investigation(id).await?.state.name(), "starting");
    assert_eq!(world.cloud.apps().len(), 1);
    let gone: i64 = sqlx::query_scalar("select count(*) from sandboxes where state = 'gone'")
        .fetch_one(&world.pg)
        .await?;
    assert_eq!(gone, 1);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_lost_answer_while_provisioning_leaves_no_second_machine(pg: PgPool) -> Result<()> {
    let world = World::builder().at_most(1).build(pg).await?;
    for operation in ["make_app", "make_volume", "make_machine"] {
        world.cloud.fail(operation, Fault::EffectThenTimeout);
        world.cloud.fail(operation, Fault::RateLimited);
    }
    let id = world.alert("one").await?;
    for _ in 0..20 {
        world.settle().await?;
        world.clock.advance(TimeDelta::seconds(3));
    }

    assert_eq!(world.cloud.apps().len(), 1);
    assert_eq!(world.cloud.calls("make_app"), 3);
    assert!(world.investigation(id).await?.state.run().is_some());
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_sweep_needs_one_connection_whatever_it_finds(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(2).build(pg.clone()).await?;
    let id = world.alert("one").await?;
    world.settle().await?;
    let run = world
        .investigation(id)
        .await?
        .state
        .run()
        .expect("it starts");
    world.cloud.lose_machine(&app_name(run.sandbox));
    let ours: sqlx::types::Uuid = sqlx::query_scalar("select id from installation")
        .fetch_one(&pg)
        .await?;
    let orphan = app_name(SandboxId::generate());
    let marked = ("nightshift_installation", ours.to_string());
    world.cloud.plant(&orphan, &[(marked.0, &marked.1)]);
    let alone = Platform {
        store: Store::new(Role::Engine.acting(&pg.connect_options(), 1).await?),
        ..world.platform.clone()
    };

    for _ in 0..2 {
        timeout(Duration::from_secs(5), sweep(&alone)).await??;
        world
            .clock
            .advance(reconcile::GRACE + TimeDelta::seconds(1));
    }

    let after = world.investigation(id).await?.state;
    assert_ne!(
        after.run().map(|run| run.sandbox),
        Some(run.sandbox),
        "its machine is gone"
    );
    assert!(!world.cloud.apps().contains(&orphan));
    Ok(())
}
