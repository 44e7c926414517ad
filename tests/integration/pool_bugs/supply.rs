//! Making sandboxes: too many, too few, for ever, or without anybody knowing.

use anyhow::Result;
use chrono::TimeDelta;
use futures_util::future::{join_all, try_join_all};
use nightshift_domain::{SandboxId, sandbox::PLAN_PATIENCE};
use nightshift_engine::{provision::provision, reconcile::GRACE, refill::refill, sweep::sweep};
use nightshift_store::Settlement;
use nightshift_tests::{Fault, World};
use sqlx::{PgPool, types::Uuid};

use super::{processes, wrongly_held};
use crate::pool::{count, states};

async fn wants(world: &World, ready: i32) -> Result<()> {
    sqlx::query("update pools set target_ready = $1")
        .bind(ready)
        .execute(&world.pg)
        .await?;
    Ok(())
}

async fn live(world: &World) -> Result<i64> {
    Ok(
        sqlx::query_scalar("select count(*) from sandboxes where state <> 'gone'")
            .fetch_one(&world.pg)
            .await?,
    )
}

/// Lets `minutes` pass, with a sweep in each.
async fn pass(world: &World, minutes: usize) -> Result<()> {
    for _ in 0..minutes {
        world.clock.advance(TimeDelta::seconds(60));
        sweep(&world.platform).await?;
        world.settle().await?;
    }
    Ok(())
}

/// B3. Twenty thousand machines were asked for and a hundred thousand made: what was missing was computed
/// anew before the machines under way could be seen. Here six refills run at once, again and again, while the
/// provider's list shows none of what is made.
#[sqlx::test(migrations = "../migrations")]
async fn b3_ready_and_coming_together_never_exceed_the_target_at_any_step(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().build(pg).await?;
    wants(&world, 40).await?;
    world.cloud.lag();
    let processes = processes(&world, 6).await?;
    for _ in 0..200 {
        try_join_all(processes.iter().map(|process| refill(process, world.pool))).await?;
        let live = live(&world).await?;
        assert!(live <= 40, "{live}");
        if world.step().await?.is_none() {
            break;
        }
    }
    world.settle().await?;
    assert_eq!(count(&world, "ready").await?, 40);
    assert_eq!(world.cloud.machines_made(), 40);
    Ok(())
}

/// B4. The event that told of a created machine was lost, and the pool waited minutes for it. Here every
/// step is lost while sandboxes are planned and being made.
#[sqlx::test(migrations = "../migrations")]
async fn b4_a_pool_whose_every_event_was_lost_is_full_again_within_the_plans_patience(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().build(pg).await?;
    wants(&world, 4).await?;
    refill(&world.platform, world.pool).await?;
    let lost = sqlx::query("delete from outbox").execute(&world.pg).await?;
    assert_eq!(lost.rows_affected(), 4);

    world.clock.advance(PLAN_PATIENCE);
    sweep(&world.platform).await?;
    world.settle().await?;

    assert_eq!(
        count(&world, "ready").await?,
        4,
        "{:?}",
        states(&world).await?
    );
    Ok(())
}

/// B7. A lock was taken, the process died, and what it held was never used again: the pool became smaller
/// and smaller. Here whoever works on a sandbox dies in each of its states.
#[sqlx::test(migrations = "../migrations")]
async fn b7_a_sandbox_left_in_any_state_is_moved_on_when_its_time_is_over(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    for state in ["planned", "provisioning", "ready", "retiring"] {
        // A transaction that holds it and dies leaves nothing locked.
        let mut dying = world.pg.begin().await?;
        sqlx::query("select id from sandboxes where state <> 'gone' for update")
            .execute(&mut *dying)
            .await?;
        drop(dying);
        let left = sqlx::query(
            "update sandboxes
                set state = $1, reason = case $1 when 'retiring' then 'left' end,
                    version = version + 1
              where state <> 'gone'",
        )
        .bind(state)
        .execute(&world.pg)
        .await?;
        assert_eq!(left.rows_affected(), 1);
        sqlx::query("delete from outbox").execute(&world.pg).await?;

        world.clock.advance(TimeDelta::hours(25));
        sweep(&world.platform).await?;
        world.settle().await?;

        assert_eq!(
            live(&world).await?,
            1,
            "after {state}: {:?}",
            states(&world).await?
        );
        assert_eq!(count(&world, "ready").await?, 1, "after {state}");
        assert_eq!(world.cloud.apps().len(), 1, "after {state}");
    }
    // And no state can be left without a time at which somebody looks.
    let timeless = sqlx::query("update sandboxes set deadline_at = null where state = 'ready'")
        .execute(&world.pg)
        .await;
    assert!(timeless.is_err_and(|error| error.to_string().contains("live_has_a_deadline")));
    Ok(())
}

/// B8. A template that could not start was made again and again, for ever, each try a machine. Here an image
/// fails its self-check for six hours, with a sweep and a waiting alert asking for sandboxes all the time.
#[sqlx::test(migrations = "../migrations")]
async fn b8_an_image_that_never_works_costs_a_bounded_number_of_machines(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    wants(&world, 20).await?;
    for _ in 0..10_000 {
        world.cloud.fail("start", Fault::BadBoot(70));
    }
    let waits = world.alert("one").await?;
    world.settle().await?;
    assert_eq!(
        world.cloud.machines_made(),
        5,
        "before it was known to be bad"
    );

    pass(&world, 360).await?;

    let made = world.cloud.machines_made();
    // Probes after 30 s, 1, 2, 4, 8 and 16 min, then one in 15 to 30 min.
    assert!((10..=5 + 7 + 24).contains(&made), "{made}");
    assert_eq!(world.cloud.apps(), Vec::<String>::new(), "and none is left");
    assert_eq!(
        world.investigation(waits).await?.state.name(),
        "queued",
        "it still waits"
    );
    Ok(())
}

/// B9. The process died between the provider's creation and its own record: machines ran that no record
/// named. Here that happens at each part of a sandbox, with the step lost as well, and to a call that takes
/// effect long after its sandbox was given up.
#[sqlx::test(migrations = "../migrations")]
async fn b9_what_was_made_and_never_recorded_is_taken_on_or_destroyed(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    wants(&world, 1).await?;
    for part in ["make_app", "make_volume", "make_machine"] {
        refill(&world.platform, world.pool).await?;
        world.cloud.fail(part, Fault::EffectThenTimeout);
        assert!(
            matches!(world.step().await?, Some(Settlement::Again { .. })),
            "{part}"
        );
        sqlx::query("delete from outbox").execute(&world.pg).await?;

        pass(&world, 15).await?;

        assert_eq!(
            count(&world, "ready").await?,
            1,
            "{part}: {:?}",
            states(&world).await?
        );
        assert_eq!(world.cloud.apps().len(), 1, "{part}: nothing is left over");
        sqlx::query("update sandboxes set deadline_at = created_at where state = 'ready'")
            .execute(&world.pg)
            .await?;
        wants(&world, 0).await?;
        pass(&world, 1).await?;
        assert_eq!(world.cloud.apps(), Vec::<String>::new());
        wants(&world, 1).await?;
    }
    let gone: Uuid = sqlx::query_scalar("select id from sandboxes where state = 'gone' limit 1")
        .fetch_one(&world.pg)
        .await?;
    let late = nightshift_engine::provision::app_name(SandboxId::from(gone));
    world.cloud.plant(&late, &[]);
    let minutes = usize::try_from(GRACE.num_minutes())? + 2;
    pass(&world, minutes).await?;
    assert!(!world.cloud.apps().contains(&late));
    Ok(())
}

/// B14. One request of seventy-five timed out, and the pause that followed held up all the others: the
/// ninetieth percentile went from 74 s to 205 s. Here one of seventy-five times out.
#[sqlx::test(migrations = "../migrations")]
async fn b14_a_timeout_in_a_burst_holds_up_that_one_and_nobody_else(pg: PgPool) -> Result<()> {
    let world = World::builder().at_most(200).build(pg).await?;
    wants(&world, 75).await?;
    world.cloud.fail("make_machine", Fault::EffectThenTimeout);

    world.fill().await?;
    world.fill().await?;

    assert_eq!(
        count(&world, "ready").await?,
        74,
        "{:?}",
        states(&world).await?
    );
    world.clock.advance(TimeDelta::seconds(1));
    world.settle().await?;
    assert_eq!(count(&world, "ready").await?, 75);
    assert_eq!(world.cloud.machines_made(), 75);
    let state: String = sqlx::query_scalar("select state from breakers")
        .fetch_one(&world.pg)
        .await?;
    assert_eq!(state, "closed");
    Ok(())
}

/// B14 again: provisioning that races its own copies neither fails nor makes a second machine.
#[sqlx::test(migrations = "../migrations")]
async fn b14_copies_of_a_provisioning_do_not_stop_each_other(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    wants(&world, 5).await?;
    refill(&world.platform, world.pool).await?;
    let planned: Vec<Uuid> = sqlx::query_scalar("select id from sandboxes")
        .fetch_all(&world.pg)
        .await?;
    let processes = processes(&world, 3).await?;
    for _ in 0..4 {
        let copies = planned.iter().flat_map(|id| {
            let of = |process| provision(process, SandboxId::from(*id));
            processes.iter().map(of)
        });
        join_all(copies).await;
    }
    assert_eq!(
        count(&world, "ready").await?,
        5,
        "{:?}",
        states(&world).await?
    );
    assert_eq!(world.cloud.machines_made(), 5);
    assert_eq!(wrongly_held(&world).await?, 0);
    Ok(())
}
