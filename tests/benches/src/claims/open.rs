//! Enqueue to grant with arrivals that wait for nobody.

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
    load,
};

/// Arrivals a second.
const RATES: [u32; 5] = [100, 500, 1_000, 2_000, 3_000];

/// Measures every rate.
pub(super) async fn measure(bench: &Bench<'_>) -> Result<Value> {
    let mut table = Table::new(["arrivals/s", "served/s", "p50 ms", "p90", "p99", "max"]);
    let mut found = Vec::new();
    for arrivals in RATES {
        let enough = u64::from(arrivals) * (bench.measured + WARM_UP).as_secs() * 13 / 10 + 200;
        let options = Options::plain(bench, usize::try_from(enough)?);
        let flow = Flow::start(bench, &options).await?;
        let asked = Arc::clone(&flow);
        let measured = load::open(f64::from(arrivals), WARM_UP, bench.measured, 7, move || {
            let flow = Arc::clone(&asked);
            async move { flow.one(0).await }
        })
        .await;
        flow.end(bench).await?;
        let measured = measured?.measured();
        let [p50, p90, p99, max] = measured.latencies.cells();
        table.row(&[
            arrivals.to_string(),
            rate(measured.per_second),
            p50,
            p90,
            p99,
            max,
        ]);
        found.push(json!({
            "arrivals_per_s": arrivals, "served_per_s": round(measured.per_second),
            "ms": measured.latencies.json(),
        }));
    }
    Output::table(
        "enqueue to grant seen, Poisson arrivals, from the intended moment",
        &table,
    );
    Ok(Value::Array(found))
}
