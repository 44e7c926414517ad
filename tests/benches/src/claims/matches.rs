//! The grant statement alone: a queue that is full, a pool that is full, and one or two coordinators that
//! pair them batch by batch, each batch one transaction that reaches the disk.

use std::time::Instant;

use anyhow::{Result, ensure};
use nightshift_domain::{Investigation, InvestigationId};
use nightshift_store::Store;
use nightshift_terminal::Table;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Bench;
use crate::{
    figures::{Latencies, Output, millis, per_second, rate, round},
    seed::{self, Case},
};

const BATCHES: [i64; 4] = [1, 25, 64, 100];
/// Tickets that wait at first, for batches of one and for larger ones.
const FEW: usize = 300;
const MANY: usize = 6_000;

/// Measures every batch size with one and with two coordinators.
pub(super) async fn measure(bench: &Bench<'_>, size: i64) -> Result<Value> {
    let mut table = Table::new([
        "batch",
        "coordinators",
        "matches/s",
        "p50 ms",
        "p90",
        "p99",
        "max",
    ]);
    let mut found = Vec::new();
    for batch in BATCHES {
        for coordinators in [1, 2] {
            let waiting = if batch == 1 { FEW } else { MANY };
            let (per_second, batches) = one(bench, batch, coordinators, waiting).await?;
            let [p50, p90, p99, max] = batches.cells();
            table.row(&[
                batch.to_string(),
                coordinators.to_string(),
                rate(per_second),
                p50,
                p90,
                p99,
                max,
            ]);
            found.push(json!({
                "batch": batch, "coordinators": coordinators, "per_second": round(per_second),
                "batch_ms": batches.json(),
            }));
        }
    }
    let title = format!("grant statement, {size} finished investigations");
    Output::table(&title, &table);
    Ok(Value::Array(found))
}

async fn one(
    bench: &Bench<'_>,
    batch: i64,
    coordinators: usize,
    waiting: usize,
) -> Result<(f64, Latencies)> {
    queue_up(bench, waiting).await?;
    let pool = bench.cast.pool;
    let mut stores = Vec::new();
    for _ in 0..coordinators {
        stores.push(bench.database.store(1).await?);
    }
    let began = Instant::now();
    let mut all = JoinSet::new();
    for store in stores {
        all.spawn(async move {
            let mut took = Vec::new();
            let mut granted = 0;
            loop {
                let began = Instant::now();
                let mut tx = store.begin().await?;
                tx.coordinate(pool).await?;
                let some = tx.grant(pool, batch, seed::now()).await?.len();
                tx.commit().await?;
                took.push(millis(began.elapsed()));
                granted += some;
                if some == 0 {
                    return Ok::<_, anyhow::Error>((granted, took));
                }
            }
        });
    }
    let (mut granted, mut batches) = (0, Vec::new());
    while let Some(one) = all.join_next().await {
        let (some, took) = one??;
        granted += some;
        batches.extend(took);
    }
    let took = began.elapsed();
    ensure!(
        granted == waiting,
        "{granted} of {waiting} tickets were granted"
    );
    end_all(bench).await?;
    Ok((per_second(granted, took), Latencies(batches)))
}

/// Tickets that wait, round-robin over the tenants, and as many ready sandboxes.
pub(super) async fn queue_up(bench: &Bench<'_>, waiting: usize) -> Result<()> {
    let admin = &bench.database.admin;
    let all = 0..bench.cast.tenants.len();
    let cases = bench.cast.cases(admin, waiting, all).await?;
    bench.cast.stock(admin, waiting).await?;
    let store = Store::new(admin.clone());
    let mut tx = store.begin().await?;
    for case in &cases {
        let new = open(case);
        tx.open_investigation(&new, bench.cast.pool).await?;
    }
    tx.commit().await?;
    seed::settle(admin).await
}

/// An investigation of a case, queued now.
pub(super) fn open(case: &Case) -> Investigation {
    let id = InvestigationId::generate();
    Investigation::open(id, case.tenant, case.incident, case.alert, seed::now())
}

/// Ends whatever was granted, so that nothing weighs on what is measured next.
pub(super) async fn end_all(bench: &Bench<'_>) -> Result<()> {
    for statement in [
        "update sandboxes set state = 'gone', reason = 'measured', deadline_at = null
          where state <> 'gone'",
        "update investigations
            set state = 'concluded', sandbox_id = null, epoch = null, deadline_at = null,
                ended_at = now()
          where state in ('queued', 'claimed')",
        "update tickets set state = 'cancelled' where state = 'waiting'",
        "delete from outbox",
    ] {
        sqlx::query(statement)
            .execute(&bench.database.admin)
            .await?;
    }
    Ok(())
}
