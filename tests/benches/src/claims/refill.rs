//! Claims beside a refill that never rests, and without one (pool bug B16: a refill must not compete with
//! claims). Both in turn, three times, so that a noisy minute hits both.

use std::sync::Arc;

use anyhow::Result;
use nightshift_terminal::Table;
use serde_json::{Value, json};

use super::{
    Bench, WARM_UP,
    flow::{Flow, Options, Stock},
    supply,
};
use crate::{
    figures::{Latencies, Output, round},
    load,
};

/// Arrivals a second.
const RATE: u32 = 100;
const ROUNDS: u64 = 3;

/// Measures both.
pub(super) async fn measure(bench: &Bench<'_>) -> Result<Value> {
    let (mut idle, mut busy) = (Latencies::default(), Latencies::default());
    let mut made = 0;
    for round in 0..ROUNDS {
        idle.0.extend(one(bench, Stock::Plenty, round).await?.0);
        let before = ready(bench).await?;
        busy.0.extend(one(bench, Stock::Refilled, round).await?.0);
        made += ready(bench).await? - before;
    }
    let mut table = Table::new(["refill", "claims", "p50 ms", "p90", "p99", "max"]);
    for (name, found) in [("idle", &idle), ("running", &busy)] {
        table.row(&found.named(name));
    }
    let ratio = busy.percentiles().p99 / idle.percentiles().p99.max(1e-9);
    let title = format!("{RATE} claims/s while {made} sandboxes were made, and while none was");
    Output::table(&title, &table);
    Output::line(&format!(
        "p99 with refill : without = {ratio:.2} (at most 1.5)\n"
    ));
    Ok(json!({
        "made": made, "idle_ms": idle.json(), "running_ms": busy.json(), "p99_ratio": round(ratio),
    }))
}

async fn one(bench: &Bench<'_>, stock: Stock, seed: u64) -> Result<Latencies> {
    let enough = u64::from(RATE) * ((bench.measured + WARM_UP).as_secs() + 1) * 2;
    let options = Options {
        stock,
        ..Options::plain(bench, usize::try_from(enough)?)
    };
    let flow = Flow::start(bench, &options).await?;
    let asked = Arc::clone(&flow);
    let measured = load::open(f64::from(RATE), WARM_UP, bench.measured, seed, move || {
        let flow = Arc::clone(&asked);
        async move { flow.one(0).await }
    })
    .await;
    let store = nightshift_store::Store::new(bench.database.admin.clone());
    supply::want(&store, bench.cast.pool, 0).await?;
    flow.end(bench).await?;
    Ok(measured?.measured().latencies)
}

/// Sandboxes that provisioning made ready, ever.
async fn ready(bench: &Bench<'_>) -> Result<i64> {
    let count = sqlx::query_scalar("select count(*) from provision_times")
        .fetch_one(&bench.database.admin)
        .await?;
    Ok(count)
}
