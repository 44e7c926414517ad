//! Other ways of doing the same, in the same minute on the same machine: ratios outlive a noisy neighbour.

use anyhow::Result;
use nightshift_terminal::Table;
use serde_json::{Value, json};

use super::{
    Bench, closed,
    flow::{Notify, Options},
};
use crate::figures::{Output, rate, round};

const IN_FLIGHT: [usize; 2] = [50, 500];

/// A way, and what it changes.
type Peer = (&'static str, fn(&mut Options));

const PEERS: [Peer; 3] = [
    ("as it is", |_| {}),
    ("one claim at a time", |options| options.batch = 1),
    ("notify in the transaction", |options| {
        options.notify = Notify::InTransaction;
    }),
];

/// Measures every way.
pub(super) async fn measure(bench: &Bench<'_>) -> Result<Value> {
    let mut table = Table::new([
        "in flight",
        "way",
        "grants/s",
        "ratio",
        "p50 ms",
        "p99",
        "max",
    ]);
    let mut found = Vec::new();
    for in_flight in IN_FLIGHT {
        let mut ours = None;
        for (way, change) in PEERS {
            let (measured, _) = closed::one(bench, in_flight, change).await?;
            let per_second = measured.per_second;
            let ratio = ours.get_or_insert(per_second).max(1e-9) / per_second.max(1e-9);
            let [p50, _, p99, max] = measured.latencies.cells();
            table.row(&[
                in_flight.to_string(),
                way.to_owned(),
                rate(per_second),
                format!("1 : {ratio:.1}"),
                p50,
                p99,
                max,
            ]);
            found.push(json!({
                "in_flight": in_flight, "way": way, "per_second": round(per_second),
                "times_slower": round(ratio), "ms": measured.latencies.json(),
            }));
        }
    }
    Output::table("the same with other ways, side by side", &table);
    Ok(Value::Array(found))
}
