//! One tenant asks for far more than there is, nine for a little: how long do the nine wait?
//!
//! Sandboxes come at a fixed rate, so that there is something to be fair about. What the loud tenant waits is
//! what everybody would wait in one common line.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use nightshift_terminal::Table;
use serde_json::{Value, json};

use super::{
    Bench,
    flow::{Flow, Options, Stock},
};
use crate::{
    figures::{Output, rate, round},
    load::{self, Measured},
};

/// Sandboxes a second.
const SUPPLY: usize = 200;
/// What the nine ask for together, a second.
const QUIET: u32 = 90;
/// What the loud one has waiting at any time.
const LOUD: usize = 1_000;

/// How long the loud one may take to fill the queue before anything counts.
const QUEUES_UP: Duration = Duration::from_secs(5);

/// Measures the nine alone, and beside the loud one.
pub(super) async fn measure(bench: &Bench<'_>) -> Result<Value> {
    let (alone, _) = one(bench, 0).await?;
    let (beside, loud) = one(bench, LOUD).await?;
    let mut table = Table::new(["who", "served/s", "p50 ms", "p90", "p99", "max"]);
    let mut found = serde_json::Map::new();
    for (who, name, measured) in [
        ("nine quiet tenants, alone", "alone", &alone),
        ("the nine beside a loud one", "beside", &beside),
        ("the loud one", "loud", &loud),
    ] {
        let [p50, p90, p99, max] = measured.latencies.cells();
        table.row(&[
            who.to_owned(),
            rate(measured.per_second),
            p50,
            p90,
            p99,
            max,
        ]);
        found.insert(
            name.to_owned(),
            json!({"per_second": round(measured.per_second), "ms": measured.latencies.json()}),
        );
    }
    let title = format!("fairness: {SUPPLY} sandboxes/s, the loud one has {LOUD} waiting");
    Output::table(&title, &table);
    Ok(Value::Object(found))
}

async fn one(bench: &Bench<'_>, loud: usize) -> Result<(Measured, Measured)> {
    let seconds = usize::try_from(bench.measured.as_secs())?;
    let options = Options {
        stock: Stock::PerSecond(SUPPLY),
        groups: vec![
            (0..1, loud * 2 + SUPPLY * (seconds + 10)),
            (1..bench.cast.tenants.len(), 2 * (seconds + 10) * 90),
        ],
        ..Options::plain(bench, 0)
    };
    let flow = Flow::start(bench, &options).await?;
    let (first, second) = (Arc::clone(&flow), Arc::clone(&flow));
    let crowd = tokio::spawn(load::closed(loud, QUEUES_UP, bench.measured, move || {
        let flow = Arc::clone(&first);
        async move { flow.one(0).await }
    }));
    tokio::time::sleep(QUEUES_UP).await;
    let quiet = load::open(
        f64::from(QUIET),
        Duration::ZERO,
        bench.measured,
        11,
        move || {
            let flow = Arc::clone(&second);
            async move { flow.one(1).await }
        },
    )
    .await;
    let crowd = crowd.await?;
    flow.end(bench).await?;
    Ok((quiet?.measured(), crowd?))
}
