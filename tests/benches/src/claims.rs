//! How fast tickets get their sandboxes: the grant statement alone, its plans, and end to end.

mod closed;
mod flow;
mod matches;
mod plan;
mod provider;

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

/// What every part needs.
pub(crate) struct Bench<'a> {
    pub(crate) database: &'a Database,
    pub(crate) cast: seed::Cast,
    pub(crate) output: &'a Output,
    pub(crate) measured: Duration,
    only: &'a [String],
}

impl Bench<'_> {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

/// Measures, and shows figures as they come.
pub(crate) async fn run(local: &Path, wanted: &Claims, output: &Output) -> Result<()> {
    let database = Database::make(local).await?;
    let measured = measure(&database, wanted, output).await;
    database.end().await?;
    output.end(&measured?);
    Ok(())
}

async fn measure(database: &Database, wanted: &Claims, output: &Output) -> Result<Value> {
    let mut figures = Map::new();
    figures.insert("bench".into(), json!("claims"));
    figures.insert("machine".into(), environment::describe());
    let cast = seed::cast(&database.admin, TENANTS).await?;
    let bench = Bench {
        database,
        cast,
        output,
        measured: Duration::from_secs(wanted.seconds),
        only: &wanted.only,
    };
    let mut history = Vec::new();
    let mut size = 1_000;
    while size <= wanted.history {
        say(&format!(
            "making a history of {size} finished investigations"
        ));
        bench.cast.history(&database.admin, size).await?;
        let mut found = Map::new();
        found.insert("finished".into(), json!(size));
        if bench.wants("plan") {
            found.insert("plan".into(), plan::check(&bench, size).await?);
        }
        if bench.wants("matches") {
            found.insert("matches".into(), matches::measure(&bench, size).await?);
        }
        if bench.wants("closed") {
            found.insert("closed".into(), closed::measure(&bench, size).await?);
        }
        history.push(Value::Object(found));
        size *= 10;
    }
    figures.insert("history".into(), Value::Array(history));
    Ok(Value::Object(figures))
}
