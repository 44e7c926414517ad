//! Enqueue to grant with a fixed number in flight.

use std::sync::Arc;

use anyhow::Result;
use nightshift_terminal::Table;
use serde_json::{Value, json};

use super::{
    Bench, WARM_UP,
    flow::{Flow, Options},
};
use crate::{
    figures::{Output, rate, round},
    load::{self, Measured},
    usage::Usage,
};

const IN_FLIGHT: [usize; 3] = [1, 50, 500];
/// More grants a second than this are not expected; cases are prepared for so many.
const MOST_PER_SECOND: u64 = 6_000;

/// Measures 1, 50 and 500 in flight.
pub(super) async fn measure(bench: &Bench<'_>, size: i64) -> Result<Value> {
    let mut table = Table::new([
        "in flight",
        "grants/s",
        "p50 ms",
        "p90",
        "p99",
        "max",
        "db µs",
        "bench µs",
    ]);
    let mut found = Vec::new();
    for in_flight in IN_FLIGHT {
        let (measured, used) = one(bench, in_flight, |_| {}).await?;
        let grants = measured.all;
        let [p50, p90, p99, max] = measured.latencies.cells();
        table.row(&[
            in_flight.to_string(),
            rate(measured.per_second),
            p50,
            p90,
            p99,
            max,
            rate(used.postgres_us(grants)),
            rate(used.bench_us(grants)),
        ]);
        found.push(json!({
            "in_flight": in_flight, "per_second": round(measured.per_second),
            "ms": measured.latencies.json(),
            "postgres_us": round(used.postgres_us(grants)), "bench_us": round(used.bench_us(grants)),
        }));
    }
    let title = format!("enqueue to grant seen, {size} finished investigations");
    Output::table(&title, &table);
    Ok(Value::Array(found))
}

/// Measures one number in flight on a platform with these options.
pub(super) async fn one(
    bench: &Bench<'_>,
    in_flight: usize,
    change: impl FnOnce(&mut Options),
) -> Result<(Measured, Usage)> {
    let seconds = (bench.measured + WARM_UP).as_secs() + 1;
    let most = if in_flight == 1 { 400 } else { MOST_PER_SECOND };
    let mut options = Options::plain(bench, usize::try_from(most * seconds)?);
    change(&mut options);
    let flow = Flow::start(bench, &options).await?;
    let before = Usage::now(&bench.database.admin).await?;
    let asked = Arc::clone(&flow);
    let measured = load::closed(in_flight, WARM_UP, bench.measured, move || {
        let flow = Arc::clone(&asked);
        async move { flow.one(0).await }
    })
    .await;
    let used = before.since(&bench.database.admin).await?;
    flow.end(bench).await?;
    Ok((measured?, used))
}
