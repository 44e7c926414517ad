//! Handing over what is due after a commit, in batches and for a while.

use std::{
    future::pending,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use chrono::TimeDelta;
use nightshift_engine::{
    Clock,
    relay::{Carrier, Published, publish},
    steps,
};
use nightshift_protocol::{Step, Trace};
use nightshift_store::{LeasedStep, Settlement};
use nightshift_tests::World;
use sqlx::PgPool;

const PATIENCE: Duration = Duration::from_secs(20);

/// A queue that takes two steps a call and treats each as its row's number says.
#[derive(Debug, Default)]
struct Pairs {
    taken: Mutex<Vec<Vec<i64>>>,
    refuses: Vec<i64>,
    silent_about: Vec<i64>,
    hangs: bool,
}

impl Carrier for Pairs {
    fn batches(&self, leased: Vec<LeasedStep>) -> Vec<Vec<LeasedStep>> {
        leased.chunks(2).map(<[_]>::to_vec).collect()
    }

    fn carry<'a>(
        &'a self,
        batch: &'a [LeasedStep],
    ) -> futures_util::future::BoxFuture<'a, Vec<Settlement>> {
        Box::pin(async move {
            if self.hangs {
                pending::<()>().await;
            }
            let ids = batch.iter().map(|step| step.id).collect();
            self.taken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(ids);
            let told = batch
                .iter()
                .take_while(|step| !self.silent_about.contains(&step.id));
            told.map(|step| {
                if self.refuses.contains(&step.id) {
                    Settlement::Again {
                        due_at: step.due_at + TimeDelta::seconds(5),
                        error: "busy".to_owned(),
                    }
                } else {
                    Settlement::Done
                }
            })
            .collect()
        })
    }
}

impl Pairs {
    async fn publish(&self, world: &World, patience: Duration) -> Result<Published> {
        Ok(publish(world.store(), &world.clock, self, patience).await?)
    }
}

/// Writes `count` wakes; returns their rows.
async fn wakes(world: &World, count: usize) -> Result<Vec<i64>> {
    let mut tx = world.store().begin().await?;
    for _ in 0..count {
        let step = Step::ClaimWake { pool: world.pool };
        tx.enqueue(step, &world.pool.to_string(), world.clock.now())
            .await?;
    }
    tx.commit().await?;
    rows(world).await
}

async fn rows(world: &World) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar("select id from outbox order by id")
        .fetch_all(&world.pg)
        .await?)
}

#[sqlx::test(migrations = "../migrations")]
async fn what_the_queue_accepts_is_deleted_and_the_rest_comes_again_at_its_time(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let ids = wakes(&world, 5).await?;
    world.clock.advance(TimeDelta::seconds(2));
    let queue = Pairs {
        refuses: vec![ids[1]],
        silent_about: vec![ids[3]],
        ..Pairs::default()
    };

    let published = queue.publish(&world, PATIENCE).await?;

    assert_eq!((published.accepted, published.left), (3, 2));
    assert_eq!(published.lag, Some(TimeDelta::seconds(2)));
    assert!(!published.cut_short);
    assert_eq!(rows(&world).await?, [ids[1], ids[3]]);
    let mut sizes: Vec<usize> = queue.taken.lock().unwrap().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2]);

    // The refused one is due in three seconds; the one nobody spoke of when its lease ends.
    let none = Pairs::default().publish(&world, PATIENCE).await?;
    assert_eq!(none.accepted, 0);
    world.clock.advance(TimeDelta::seconds(4));
    let refused = Pairs::default().publish(&world, PATIENCE).await?;
    assert_eq!((refused.accepted, rows(&world).await?), (1, vec![ids[3]]));
    world.clock.advance(TimeDelta::seconds(60));
    let silent = Pairs::default().publish(&world, PATIENCE).await?;
    assert_eq!(silent.accepted, 1);
    assert!(rows(&world).await?.is_empty());
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn more_than_one_lease_is_drained_and_nothing_is_sent_twice(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let ids = wakes(&world, 230).await?;
    let queue = Pairs::default();

    let (one, other) = tokio::join!(
        queue.publish(&world, PATIENCE),
        queue.publish(&world, PATIENCE)
    );

    assert_eq!(one?.accepted + other?.accepted, 230);
    let mut taken = queue.taken.lock().unwrap().concat();
    taken.sort_unstable();
    assert_eq!(taken, ids);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_queue_that_hangs_costs_no_more_than_the_publishers_patience(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    wakes(&world, 1).await?;
    let queue = Pairs {
        hangs: true,
        ..Pairs::default()
    };

    let published = queue.publish(&world, Duration::from_millis(200)).await?;

    assert!(published.cut_short);
    assert_eq!(rows(&world).await?.len(), 1, "the step is still there");
    world.clock.advance(TimeDelta::seconds(40));
    let later = Pairs::default().publish(&world, PATIENCE).await?;
    assert_eq!(later.accepted, 1);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_step_carries_its_investigations_trace_from_intake_on(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let trace = Some(Trace::of(world.alert("one").await?));

    let mut seen = Vec::new();
    loop {
        let payload: Option<serde_json::Value> = sqlx::query_scalar(
            "select payload from outbox where due_at <= $1 order by due_at, id limit 1",
        )
        .bind(world.clock.now())
        .fetch_optional(&world.pg)
        .await?;
        let Some(payload) = payload else { break };
        let envelope = steps::read(&payload)?;
        seen.push((envelope.step.kind(), envelope.v, envelope.trace));
        world.step().await?.context("the step was not due")?;
    }

    // The wake, the start that it granted, and the sandbox that takes the granted one's place.
    for kind in ["claim_wake", "dispatch", "refill", "provision"] {
        assert!(seen.contains(&(kind, 2, trace)), "{kind}: {seen:?}");
    }
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_step_that_the_previous_version_wrote_is_carried_out(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    let written = format!(
        r#"{{"v":1,"step":{{"kind":"claim_wake","pool":"{}"}}}}"#,
        world.pool
    );
    sqlx::query("update outbox set payload = $1::jsonb where kind = 'claim_wake'")
        .bind(written)
        .execute(&world.pg)
        .await?;

    world.settle().await?;

    assert_eq!(world.investigation(id).await?.state.name(), "starting");
    Ok(())
}
