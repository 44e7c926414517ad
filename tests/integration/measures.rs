//! What functions measure of what really is.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use chrono::TimeDelta;
use nightshift_claim::Coordinator;
use nightshift_engine::Clock;
use nightshift_lambda::{batch::Work, metrics::Metrics};
use nightshift_protocol::{Envelope, Step};
use nightshift_store::Settlement;
use nightshift_sweep::measure;
use nightshift_tests::World;
use serde_json::{Value, json};
use sqlx::PgPool;

/// What was written, kept.
#[derive(Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn by(&self, function: &str, world: &World) -> Metrics {
        Metrics::to(function, Arc::new(world.clock.clone()), self.0.clone())
    }

    /// The lines that hold a metric, since they were last asked for.
    fn take(&self, metric: &str) -> Vec<Value> {
        let written = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(written).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &Value| !line[metric].is_null())
            .collect()
    }
}

fn wake(world: &World) -> Envelope {
    Envelope::new(Step::ClaimWake { pool: world.pool }, None)
}

#[sqlx::test(migrations = "../migrations")]
async fn the_claim_function_notes_how_long_each_granted_alert_waited(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(2).at_most(2).build(pg).await?;
    let written = Written::default();
    let coordinator = Coordinator::new(world.platform.clone(), written.by("claim", &world));
    world.alert("first").await?;
    world.clock.advance(TimeDelta::milliseconds(1_500));
    world.alert("second").await?;
    world.clock.advance(TimeDelta::milliseconds(250));
    // No sandbox is left for this one: it is not granted, and no wait of it is known yet.
    world.alert("third").await?;

    coordinator.carry_out(wake(&world)).await?;

    let lines = written.take("ClaimWait");
    let [line] = lines.as_slice() else {
        panic!("one line of one grant: {lines:?}");
    };
    assert_eq!(line["ClaimWait"], json!([1_750.0, 250.0]), "{line}");
    assert_eq!(line["pool"], world.pool.to_string());
    assert_eq!(line["function"], "claim");

    // Who grants nothing waited for nothing.
    coordinator.carry_out(wake(&world)).await?;
    assert_eq!(written.take("ClaimWait"), Vec::<Value>::new());
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_sweep_measures_what_is_ready_and_what_waits_for_a_person(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(3).at_most(3).build(pg).await?;
    let written = Written::default();
    let metrics = written.by("sweep", &world);

    measure(world.store(), &metrics).await?;
    let [ready] = &written.take("PoolReady")[..] else {
        panic!("one pool");
    };
    assert_eq!(ready["PoolReady"], 3.0);
    assert_eq!(ready["pool"], world.pool.to_string());

    measure(world.store(), &metrics).await?;
    let [none] = &written.take("DeadLetters")[..] else {
        panic!("no kind has any, and all together are noted");
    };
    assert_eq!(
        (&none["step"], &none["DeadLetters"]),
        (&json!("all"), &json!(0.0))
    );

    for _ in 0..2 {
        park_a_wake(&world).await?;
    }
    measure(world.store(), &metrics).await?;
    let mut parked: Vec<(String, f64)> = written
        .take("DeadLetters")
        .iter()
        .map(|line| {
            let step = line["step"].as_str().unwrap().to_owned();
            (step, line["DeadLetters"].as_f64().unwrap())
        })
        .collect();
    parked.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(
        parked,
        [("all".to_owned(), 2.0), ("claim_wake".to_owned(), 2.0)]
    );
    Ok(())
}

async fn park_a_wake(world: &World) -> Result<()> {
    let now = world.clock.now();
    let mut tx = world.store().begin().await?;
    let step = Step::ClaimWake { pool: world.pool };
    tx.enqueue(step, &world.pool.to_string(), now).await?;
    tx.commit().await?;
    let lease = TimeDelta::seconds(60);
    for leased in world.store().lease_steps(now, lease, 1).await? {
        let error = "it was given up".to_owned();
        let dead = Settlement::Dead { error };
        world.store().settle_step(&leased, dead, now).await?;
    }
    Ok(())
}
