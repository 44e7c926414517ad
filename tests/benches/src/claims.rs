//! How fast tickets get their sandboxes: the grant statement alone, its plans, and end to end.

mod closed;
mod fairness;
mod flow;
mod matches;
mod open;
mod peers;
mod plan;
mod provider;
mod refill;
mod supply;

pub(crate) use flow::{Flow, Options};
pub(crate) use provider::Nowhere;

use std::{path::Path, time::Duration};

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::{
    cli::Claims,
    database::Database,
    environment,
    figures::{Output, say},
    seed,
};

/// Tenants that ask.
const TENANTS: usize = 10;
/// How long a load runs before anything counts: connections and statements are prepared by then.
const WARM_UP: Duration = Duration::from_secs(2);

/// What every part needs.
pub(crate) struct Bench<'a> {
    pub(crate) database: &'a Database,
    pub(crate) cast: seed::Cast,
    pub(crate) measured: Duration,
    only: &'a [String],
}

impl Bench<'_> {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.wants_only(part)
    }

    fn wants_only(&self, part: &str) -> bool {
        self.only.iter().any(|only| only == part)
    }
}

/// A bench whose loads take so long.
pub(crate) fn bench(database: &Database, cast: seed::Cast, measured: Duration) -> Bench<'_> {
    Bench {
        database,
        cast,
        measured,
        only: &[],
    }
}

/// Measures, and shows figures as they come.
pub(crate) async fn run(local: &Path, wanted: &Claims, output: &Output) -> Result<()> {
    let database = Database::make(local).await?;
    let measured = measure(&database, wanted).await;
    database.end().await?;
    output.end(&measured?);
    Ok(())
}

async fn measure(database: &Database, wanted: &Claims) -> Result<Value> {
    let mut figures = Map::new();
    figures.insert("bench".into(), json!("claims"));
    figures.insert("machine".into(), environment::describe());
    let cast = seed::cast(&database.admin, TENANTS).await?;
    let bench = Bench {
        database,
        cast,
        measured: Duration::from_secs(wanted.seconds),
        only: &wanted.only,
    };
    if wanted.with_refill || bench.wants_only("refill") {
        bench.cast.history(&database.admin, 1_000).await?;
        figures.insert("refill".into(), refill::measure(&bench).await?);
        if wanted.with_refill {
            return Ok(Value::Object(figures));
        }
    }
    let history = lengths(&bench, wanted.history).await?;
    headlines(&mut figures, &history);
    figures.insert("history".into(), Value::Array(history));
    if bench.wants("open") {
        figures.insert("open_loop".into(), open::measure(&bench).await?);
    }
    if bench.wants("peers") {
        figures.insert("peers".into(), peers::measure(&bench).await?);
    }
    if bench.wants("fairness") {
        figures.insert("fairness".into(), fairness::measure(&bench).await?);
    }
    if bench.only.is_empty() {
        figures.insert("refill".into(), refill::measure(&bench).await?);
    }
    Ok(Value::Object(figures))
}

/// What grows with the history, at every length.
async fn lengths(bench: &Bench<'_>, longest: i64) -> Result<Vec<Value>> {
    let admin = &bench.database.admin;
    let mut history = Vec::new();
    let mut size = 1_000;
    while size <= longest {
        say(&format!(
            "making a history of {size} finished investigations"
        ));
        bench.cast.history(admin, size).await?;
        let mut found = Map::new();
        found.insert("finished".into(), json!(size));
        if bench.wants("plan") {
            found.insert("plan".into(), plan::check(bench, size).await?);
        }
        if bench.wants("matches") {
            found.insert("matches".into(), matches::measure(bench, size).await?);
        }
        if bench.wants("closed") {
            found.insert("closed".into(), closed::measure(bench, size).await?);
        }
        history.push(Value::Object(found));
        size *= 10;
    }
    Ok(history)
}

/// The figures that have a target: the best of any length would flatter, so it is the longest history's.
fn headlines(figures: &mut Map<String, Value>, history: &[Value]) {
    let Some(longest) = history.last() else {
        return;
    };
    let best = |part: &str| {
        let rows = longest.get(part).and_then(Value::as_array);
        let rates = rows
            .into_iter()
            .flatten()
            .filter_map(|row| row["per_second"].as_f64());
        rates.fold(None, |best: Option<f64>, rate| {
            Some(best.map_or(rate, |best| best.max(rate)))
        })
    };
    figures.insert("matches_per_s".into(), json!(best("matches")));
    figures.insert("grants_per_s".into(), json!(best("closed")));
    let mut latencies = Map::new();
    for row in longest["closed"].as_array().into_iter().flatten() {
        latencies.insert(row["in_flight"].to_string(), row["ms"].clone());
    }
    figures.insert("latency_ms".into(), Value::Object(latencies));
}
