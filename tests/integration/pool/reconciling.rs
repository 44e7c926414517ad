//! What the provider has, compared with what we think.

use anyhow::Result;
use chrono::TimeDelta;
use futures_util::future::try_join_all;
use nightshift_domain::{SandboxId, investigation::State};
use nightshift_engine::{
    Clock,
    attest::admit,
    claim::claim,
    reconcile::{GRACE, Reconciled, reconcile},
    refill::refill,
};
use nightshift_store::Settlement;
use nightshift_tests::{Fault, World};
use sqlx::PgPool;

use super::{app_of, count, states};

/// Looks once a minute for `minutes`; tells what was settled in all.
async fn watch(world: &World, minutes: i64) -> Result<Reconciled> {
    let mut all = Reconciled::default();
    for _ in 0..minutes {
        let done = reconcile(&world.platform).await?;
        all.destroyed += done.destroyed;
        all.adopted += done.adopted;
        all.replaced += done.replaced;
        world.clock.advance(TimeDelta::minutes(1));
    }
    Ok(all)
}

/// A sandbox that is gone, as far as we know.
async fn gone(world: &World) -> Result<SandboxId> {
    let id = SandboxId::generate();
    sqlx::query(
        "insert into sandboxes (id, pool_id, state, reason, created_at)
         values ($1, $2, 'gone', 'retired', $3)",
    )
    .bind(id.as_uuid())
    .bind(world.pool.as_uuid())
    .bind(world.clock.now())
    .execute(&world.pg)
    .await?;
    Ok(id)
}

async fn installation(world: &World) -> Result<String> {
    let id: sqlx::types::Uuid = sqlx::query_scalar("select id from installation")
        .fetch_one(&world.pg)
        .await?;
    Ok(id.to_string())
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_left_of_a_sandbox_that_is_gone_is_destroyed_at_the_second_look(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().ready(2).build(pg).await?;
    let orphan = app_of(gone(&world).await?);
    // A call took effect long after we gave up on it.
    world.cloud.plant(&orphan, &[]);

    assert_eq!(
        watch(&world, 3).await?.destroyed,
        0,
        "it was seen for two minutes"
    );
    assert_eq!(watch(&world, 1).await?.destroyed, 1);

    assert!(!world.cloud.apps().contains(&orphan));
    assert_eq!(world.cloud.apps().len(), 2, "ours are as they were");
    assert_eq!(count(&world, "ready").await?, 2);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_not_ours_is_never_touched(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let theirs = app_of(SandboxId::generate());
    let word = (
        "nightshift_installation",
        "7d0c3a52-0000-4000-8000-000000000000",
    );
    world.cloud.plant(&theirs, &[word]);
    let unmarked = app_of(SandboxId::generate());
    world.cloud.plant(&unmarked, &[]);
    let odd = app_of(SandboxId::generate()).to_uppercase();
    for app in ["shop", "ns-shop", "ns-", &odd] {
        world.cloud.plant(app, &[]);
    }

    let done = watch(&world, 30).await?;

    assert_eq!(done, Reconciled::default());
    assert_eq!(world.cloud.apps().len(), 7);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn what_we_made_before_our_rows_were_restored_is_known_by_its_mark(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let made = world.cloud.plan(&world.cloud.apps()[0]).unwrap();
    let ours = installation(&world).await?;
    assert_eq!(made.metadata["nightshift_installation"], ours);
    let forgotten = app_of(SandboxId::generate());
    world
        .cloud
        .plant(&forgotten, &[("nightshift_installation", &ours)]);

    assert_eq!(watch(&world, 4).await?.destroyed, 1);

    assert!(!world.cloud.apps().contains(&forgotten));
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn absence_from_a_list_proves_nothing(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    world.cloud.lag();
    sqlx::query("update pools set target_ready = 3")
        .execute(&world.pg)
        .await?;
    world.fill().await?;
    let id = world.alert("one").await?;
    world.settle().await?;

    let done = watch(&world, 20).await?;

    assert_eq!(done, Reconciled::default());
    assert!(world.cloud.calls("presence") > 0, "each was asked for");
    assert_eq!(count(&world, "ready").await?, 3);
    assert!(world.investigation(id).await?.state.run().is_some());
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_region_that_does_not_answer_hides_what_is_there(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(2).build(pg).await?;
    let lost = world.cloud.apps().remove(0);
    world.cloud.lose_machine(&lost);
    reconcile(&world.platform).await?;
    world.cloud.silence(&["local"]);

    let done = watch(&world, 10).await?;
    assert_eq!(done, Reconciled::default());
    assert_eq!(
        world.cloud.calls("presence"),
        0,
        "there was nothing to suspect"
    );

    world.cloud.silence(&[]);
    assert_eq!(
        watch(&world, 1).await?.replaced,
        1,
        "the suspicion from before is not lost"
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_vanished_machine_is_replaced_and_its_ticket_keeps_its_place(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).at_most(1).build(pg).await?;
    let first = world.alert("first").await?;
    world.settle().await?;
    admit(
        world.store(),
        &world.clock,
        &world.statement(first).await?,
        "key",
    )
    .await?;
    let second = world.alert("second").await?;
    let run = world.investigation(first).await?.state.run().unwrap();
    world.cloud.lose_machine(&app_of(run.sandbox));

    assert_eq!(watch(&world, 3).await?.replaced, 0);
    assert_eq!(world.investigation(first).await?.state.name(), "working");
    assert_eq!(watch(&world, 1).await?.replaced, 1);
    assert_eq!(world.investigation(first).await?.state.name(), "queued");
    world.settle().await?;

    let again = world.investigation(first).await?;
    assert_eq!(again.state.name(), "starting", "before whoever came later");
    assert_ne!(again.state.run().unwrap().sandbox, run.sandbox);
    assert_eq!(world.investigation(second).await?.state.name(), "queued");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn the_vanished_machine_of_one_that_rests_ends_it_and_of_a_ready_one_makes_another(
    pg: PgPool,
) -> Result<()> {
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
    let now = world.clock.now();
    let working = world.investigation(id).await?;
    let run = working.state.run().unwrap();
    let mut tx = world.store().begin().await?;
    tx.apply(working.rest(run.epoch, now + TimeDelta::hours(1))?, now)
        .await?;
    tx.commit().await?;
    for app in world.cloud.apps() {
        world.cloud.lose_machine(&app);
    }

    assert_eq!(watch(&world, 4).await?.replaced, 2);
    world.settle().await?;

    assert!(matches!(
        world.investigation(id).await?.state,
        State::Concluded { .. }
    ));
    assert_eq!(
        count(&world, "ready").await?,
        1,
        "{:?}",
        states(&world).await?
    );
    assert_eq!(world.cloud.apps().len(), 1);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_suspicion_that_was_not_renewed_begins_anew(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let orphan = app_of(gone(&world).await?);
    world.cloud.plant(&orphan, &[]);
    reconcile(&world.platform).await?;
    world.cloud.uproot(&orphan);
    world.clock.advance(GRACE);
    reconcile(&world.platform).await?;

    world.cloud.plant(&orphan, &[]);
    assert_eq!(watch(&world, 3).await?.destroyed, 0);
    assert_eq!(watch(&world, 1).await?.destroyed, 1);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_machine_whose_creation_was_never_answered_is_taken_on(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    sqlx::query("update pools set target_ready = 1")
        .execute(&world.pg)
        .await?;
    refill(&world.platform, world.pool).await?;
    world.cloud.fail("make_machine", Fault::EffectThenTimeout);
    assert!(matches!(
        world.step().await?,
        Some(Settlement::Again { .. })
    ));
    // Its step is lost as well; only the row and the machine are left.
    sqlx::query("delete from outbox").execute(&world.pg).await?;
    assert_eq!(count(&world, "provisioning").await?, 1);

    assert_eq!(
        watch(&world, 3).await?.adopted,
        0,
        "a call may still be under way"
    );
    assert_eq!(watch(&world, 1).await?.adopted, 1);
    world.settle().await?;

    assert_eq!(count(&world, "ready").await?, 1);
    assert_eq!(world.cloud.apps().len(), 1);
    assert_eq!(world.cloud.calls("make_machine"), 1);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn passes_at_once_count_as_one_look_and_settle_once(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(2).build(pg).await?;
    let id = world.alert("one").await?;
    claim(&world.platform, world.pool).await?;
    let run = world.investigation(id).await?.state.run().unwrap();
    world.cloud.lose_machine(&app_of(run.sandbox));
    let orphan = app_of(gone(&world).await?);
    world.cloud.plant(&orphan, &[]);

    let passes = || try_join_all((0..4).map(|_| reconcile(&world.platform)));
    let first = passes().await?;
    assert!(first.iter().all(|done| *done == Reconciled::default()));
    world.clock.advance(GRACE);
    passes().await?;
    world.settle().await?;

    assert!(!world.cloud.apps().contains(&orphan));
    let requeued: i64 =
        sqlx::query_scalar("select count(*) from investigation_events where kind = 'requeued'")
            .fetch_one(&world.pg)
            .await?;
    assert_eq!(requeued, 1);
    assert_eq!(world.investigation(id).await?.state.name(), "starting");
    Ok(())
}
