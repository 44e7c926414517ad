//! From the grant to the agent and back: whose it is, at which epoch, and who is told.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Result;
use chrono::TimeDelta;
use futures_util::future::join_all;
use nightshift_domain::{Epoch, SandboxId, investigation::HEARTBEAT_PATIENCE};
use nightshift_engine::{
    Clock,
    attest::{AttestError, admit},
    claim::claim,
    dispatch::dispatch,
    message,
    provider::MachinePlan,
    relay::{self, InProcess},
    sweep::sweep,
};
use nightshift_protocol::Step;
use nightshift_store::{Held, Probe, Role, Settlement, Store, Verdict};
use nightshift_tests::World;
use sqlx::PgPool;
use tokio::sync::watch;

use super::{processes, wrongly_held};
use crate::pool::{app_of, count, states};

/// B11. Two tenants' sandboxes had the same identity after both had been paused; resuming one removed the
/// other. Here every one of a fleet is started, rested, woken and ended in a random order, and each time all
/// the others must be as they were.
#[sqlx::test(migrations = "../migrations")]
async fn b11_what_happens_to_one_sandbox_happens_to_no_other(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(6).tenants(2).build(pg).await?;
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(
            world
                .alert_of(number % 2, &format!("alert-{number}"))
                .await?,
        );
    }
    world.settle().await?;
    let mut draw = 7_u128;
    for _ in 0..60 {
        draw = u128::from(nightshift_domain::backoff::draw(draw));
        let id = ids[usize::try_from(draw % 6)?];
        let before = others(&world, id).await?;
        let found = world.investigation(id).await?;
        let now = world.clock.now();
        match found.state.name() {
            "starting" => {
                admit(
                    world.store(),
                    &world.clock,
                    &world.statement(id).await?,
                    "key",
                )
                .await?;
            }
            "working" => {
                let epoch = found.state.run().unwrap().epoch;
                let mut tx = world.store().begin().await?;
                tx.apply(found.rest(epoch, now + TimeDelta::hours(1))?, now)
                    .await?;
                let step = Step::Rest {
                    investigation: id,
                    epoch,
                };
                tx.enqueue(step, "test", now).await?;
                tx.commit().await?;
            }
            "resting" if draw.is_multiple_of(3) => {
                let mut tx = world.store().begin().await?;
                nightshift_engine::conclude::conclude(&mut tx, found, now).await?;
                tx.commit().await?;
            }
            "resting" => {
                let tenant = found.tenant;
                message::send(
                    world.store(),
                    &world.clock,
                    Some(tenant),
                    id,
                    "maria",
                    "and now?",
                )
                .await?;
            }
            _ => {}
        }
        world.settle().await?;
        assert_eq!(others(&world, id).await?, before);
        assert_eq!(wrongly_held(&world).await?, 0);
    }
    let names: BTreeSet<String> = (0..10_000).map(|_| app_of(SandboxId::generate())).collect();
    assert_eq!(names.len(), 10_000);
    Ok(())
}

/// What everybody else holds, and whether it runs.
async fn others(
    world: &World,
    id: nightshift_domain::InvestigationId,
) -> Result<Vec<(String, String, i64, String, bool)>> {
    let rows: Vec<(String, String, i64, String)> = sqlx::query_as(
        "select i.id::text, i.state, i.epoch, s.app
           from investigations i join sandboxes s on s.id = i.sandbox_id
          where i.id <> $1 order by 1",
    )
    .bind(id.as_uuid())
    .fetch_all(&world.pg)
    .await?;
    let running = world.cloud.running();
    Ok(rows
        .into_iter()
        .map(|(id, state, epoch, app)| {
            let runs = running.contains(&app);
            (id, state, epoch, app, runs)
        })
        .collect())
}

/// B12. Network limits and quotas were applied when a sandbox was made for somebody, and not when a warm one
/// was handed out. Here the one that was ready and the one that was made on demand are compared whole.
#[sqlx::test(migrations = "../migrations")]
async fn b12_a_warm_sandbox_is_what_a_cold_one_is(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).max_running(2).build(pg).await?;
    let warm = world.alert("warm").await?;
    claim(&world.platform, world.pool).await?;
    sqlx::query("update pools set target_ready = 0")
        .execute(&world.pg)
        .await?;
    let cold = world.alert("cold").await?;
    world.settle().await?;
    let over = world.alert("over").await?;
    world.settle().await?;

    let mut plans = Vec::new();
    for id in [warm, cold] {
        let run = world.investigation(id).await?.state.run().unwrap();
        let plan = world.cloud.plan(&app_of(run.sandbox)).unwrap();
        let own = run.sandbox.to_string();
        assert_eq!(plan.metadata.get("nightshift_sandbox"), Some(&own));
        let mut metadata = plan.metadata;
        metadata.remove("nightshift_sandbox");
        plans.push(MachinePlan {
            volume: String::new(),
            metadata,
            ..plan
        });
        let limits: (String, i64) = sqlx::query_as(
            "select state, extract(epoch from deadline_at - $2)::bigint from sandboxes where id = $1",
        )
        .bind(run.sandbox.as_uuid())
        .bind(world.clock.now())
        .fetch_one(&world.pg)
        .await?;
        assert_eq!(limits, ("claimed".to_owned(), 12 * 60 * 60));
    }
    assert_eq!(plans[0], plans[1]);
    assert_eq!(
        world.investigation(over).await?.state.name(),
        "queued",
        "warm or not"
    );
    Ok(())
}

/// B13. A control plane told every agent again what it had claimed whenever it connected, and a whole fleet
/// started anew. Here the hand-over is repeated from all sides: the dispatch, and the attestation.
#[sqlx::test(migrations = "../migrations")]
async fn b13_a_hand_over_that_comes_again_starts_nobody_anew(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    claim(&world.platform, world.pool).await?;
    let run = world.investigation(id).await?.state.run().unwrap();
    let processes = processes(&world, 4).await?;

    join_all(
        processes
            .iter()
            .map(|process| dispatch(process, id, run.sandbox, run.epoch)),
    )
    .await;
    let mut statements = Vec::new();
    for _ in 0..4 {
        statements.push(world.statement(id).await?);
    }
    let mut doors = Vec::new();
    for _ in 0..4 {
        let own = Role::Session.acting(&world.pg.connect_options(), 2).await?;
        doors.push(Store::new(own));
    }
    let admitted = join_all(
        doors
            .iter()
            .zip(&statements)
            .map(|(door, statement)| admit(door, &world.clock, statement, "key")),
    )
    .await;
    let (given, refused): (Vec<_>, Vec<_>) = admitted.into_iter().partition(Result::is_ok);
    assert_eq!(given.len(), 1);
    assert!(
        refused
            .iter()
            .all(|one| matches!(one, Err(AttestError::AlreadyAttested))),
        "{refused:?}"
    );

    let before = world.investigation(id).await?;
    let starts = world.cloud.calls("start");
    for epoch in [Epoch(0), run.epoch, Epoch(2)] {
        dispatch(&world.platform, id, run.sandbox, epoch).await?;
    }
    assert_eq!(world.investigation(id).await?, before);
    assert_eq!(world.cloud.calls("start"), starts);
    Ok(())
}

/// B17. A job was bound to its worker's row; the row was pruned, or its number given to another, and the job
/// was never taken up again. Here the lease is on the step itself, and its number of tries fences whoever
/// comes back late.
#[sqlx::test(migrations = "../migrations")]
async fn b17_a_step_is_leased_by_nobody_in_particular(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    let lease = TimeDelta::seconds(60);
    let first = world
        .store()
        .lease_steps(world.clock.now(), lease, 10)
        .await?;
    world.clock.advance(lease);
    let second = world
        .store()
        .lease_steps(world.clock.now(), lease, 10)
        .await?;
    assert_eq!(first.len(), second.len());
    let (late, current) = (first.first().unwrap(), second.first().unwrap());
    assert_eq!((late.id, current.attempt), (current.id, 2));

    // The first wakes up and believes that it failed: its word does not count any more.
    let now = world.clock.now();
    for settlement in [
        Settlement::Again {
            due_at: now,
            error: "late".to_owned(),
        },
        Settlement::Dead {
            error: "late".to_owned(),
        },
    ] {
        world.store().settle_step(late, settlement, now).await?;
        assert!(
            world.store().lease_steps(now, lease, 10).await?.is_empty(),
            "it is leased"
        );
    }
    world.clock.advance(lease);
    world.settle().await?;
    assert_eq!(world.investigation(id).await?.state.name(), "starting");
    Ok(())
}

/// B18. A lease's generation began at 1 again after it was released, and a worker of long ago was believed.
/// Here a sandbox is started again and again, rested and woken, lost and replaced; and each epoch is greater
/// than all before it.
#[sqlx::test(migrations = "../migrations")]
async fn b18_an_epoch_only_grows_whatever_happens_to_its_sandbox(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    world.settle().await?;
    let mut last = Epoch::ZERO;
    let sandbox = world.investigation(id).await?.state.run().unwrap().sandbox;
    for turn in 0..6 {
        let statement = world.statement(id).await?;
        admit(world.store(), &world.clock, &statement, "key").await?;
        let working = world.investigation(id).await?;
        let run = working.state.run().unwrap();
        assert_eq!(run.sandbox, sandbox);
        assert!(run.epoch > last, "{turn}");
        last = run.epoch;
        let now = world.clock.now();
        if turn % 2 == 0 {
            let tenant = working.tenant;
            let mut tx = world.store().begin().await?;
            tx.apply(working.rest(run.epoch, now + TimeDelta::hours(1))?, now)
                .await?;
            tx.commit().await?;
            message::send(
                world.store(),
                &world.clock,
                Some(tenant),
                id,
                "maria",
                "and now?",
            )
            .await?;
        } else {
            world
                .clock
                .advance(HEARTBEAT_PATIENCE + TimeDelta::seconds(1));
            sweep(&world.platform).await?;
        }
        world.settle().await?;
        assert!(
            world.store().live_run(id, last).await?.is_none(),
            "the last one is over"
        );
    }
    let run = world.investigation(id).await?.state.run().unwrap();
    world.cloud.lose_machine(&app_of(run.sandbox));
    for _ in 0..6 {
        world.clock.advance(TimeDelta::seconds(60));
        sweep(&world.platform).await?;
        world.settle().await?;
    }
    let ended: i64 = sqlx::query_scalar("select epoch from sandboxes where id = $1")
        .bind(sandbox.as_uuid())
        .fetch_one(&world.pg)
        .await?;
    assert!(
        Epoch(ended) > run.epoch,
        "even its end is a new one: {:?}",
        states(&world).await?
    );
    Ok(())
}

/// Lets everything pass and every signal go nowhere.
#[derive(Debug)]
struct Deaf;

impl Probe for Deaf {
    fn at(&self, _: &'static str) -> Held<'_> {
        Box::pin(async { Verdict::GoOn })
    }
    fn opened(&self) {}
    fn committed(&self) {}
    fn closed(&self) {}
    fn signalled(&self, _: &'static str) {}
}

/// B19. The signal that wakes whoever carries steps was lost, and the work lay there until the next poll, or
/// for ever. Here every signal of every commit is dropped: steps are carried out because whoever connects
/// looks first, because the next one's time comes, and because the sweep looks at what waits.
#[sqlx::test(migrations = "../migrations")]
async fn b19_without_any_signal_everything_still_happens(pg: PgPool) -> Result<()> {
    let mut world = World::builder().ready(2).build(pg).await?;
    let deaf: Arc<dyn Probe> = Arc::new(Deaf);
    world.watch(&deaf);
    let (stop, stopped) = watch::channel(false);
    let carrier = Arc::new(InProcess::new(world.platform.clone()));
    let relay = tokio::spawn(relay::run(world.platform.clone(), carrier, stopped));
    listens(&world).await?;

    let id = world.alert("one").await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        world.investigation(id).await?.state.name(),
        "queued",
        "nobody was told"
    );
    // Its connection breaks; on the next one it looks before it listens.
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid()
            and query ilike 'listen%'",
    )
    .execute(&world.pg)
    .await?;
    becomes(&world, id, "starting").await?;
    stop.send(true)?;
    relay.await?;

    // A wake whose very row is gone: the sweep finds who waits.
    let second = world.alert("two").await?;
    sqlx::query("delete from outbox").execute(&world.pg).await?;
    world.clock.advance(TimeDelta::minutes(3));
    sweep(&world.platform).await?;
    world.settle().await?;
    let found = world.investigation(second).await?;
    assert!(found.state.run().is_some(), "{found:?}");
    assert_eq!(count(&world, "planned").await?, 0);
    Ok(())
}

/// B19: what is due later is carried out when its time comes, and nobody says so.
#[sqlx::test(migrations = "../migrations")]
async fn b19_a_step_wakes_its_relay_by_its_own_time(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    sqlx::query("update outbox set due_at = due_at + interval '400 ms'")
        .execute(&world.pg)
        .await?;
    let (stop, stopped) = watch::channel(false);
    let carrier = Arc::new(InProcess::new(world.platform.clone()));
    let relay = tokio::spawn(relay::run(world.platform.clone(), carrier, stopped));
    listens(&world).await?;
    assert_eq!(world.investigation(id).await?.state.name(), "queued");

    world.clock.advance(TimeDelta::milliseconds(400));
    becomes(&world, id, "starting").await?;
    stop.send(true)?;
    relay.await?;
    Ok(())
}

/// Waits until the relay listens.
async fn listens(world: &World) -> Result<()> {
    for _ in 0..1_000 {
        let listening: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
              where datname = current_database() and query ilike 'listen%'",
        )
        .fetch_one(&world.pg)
        .await?;
        if listening > 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("nobody listens")
}

async fn becomes(world: &World, id: nightshift_domain::InvestigationId, state: &str) -> Result<()> {
    for _ in 0..1_000 {
        if world.investigation(id).await?.state.name() == state {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("it never became {state}")
}
