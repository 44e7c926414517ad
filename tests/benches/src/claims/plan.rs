//! The plans that really ran, as `auto_explain` tells them: nested loops over indices, however long the
//! history and however old PostgreSQL's knowledge of it.

use std::{
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};
use nightshift_store::Store;
use serde_json::{Value, json};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    subscriber,
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt, registry::LookupSpan};

use super::{
    Bench,
    matches::{end_all, queue_up},
};
use crate::{figures::Output, seed};

/// Tables whose finished rows must never be walked.
const LONG: [&str; 4] = ["tickets", "investigations", "sandboxes", "tenants"];

/// Grants once with every plan told, for good and for outdated statistics; fails where a plan is bad.
pub(super) async fn check(bench: &Bench<'_>, size: i64) -> Result<Value> {
    let mut found = Vec::new();
    for outdated in [false, true] {
        let plans = collect(bench, outdated).await?;
        let walks: Vec<String> = plans.iter().flat_map(|plan| faults(plan)).collect();
        let statistics = if outdated {
            "without statistics"
        } else {
            "analysed"
        };
        Output::line(&format!(
            "plans of a grant, {size} finished, {statistics}: {}",
            if walks.is_empty() {
                "nested loops and index scans"
            } else {
                "BAD"
            }
        ));
        for walk in &walks {
            Output::line(&format!("  {walk}"));
        }
        found.push(json!({
            "statistics": statistics, "plans": plans.len(), "faults": walks,
        }));
    }
    Ok(Value::Array(found))
}

async fn collect(bench: &Bench<'_>, outdated: bool) -> Result<Vec<String>> {
    queue_up(bench, 400).await?;
    if outdated {
        forget_statistics(bench).await?;
    }
    let explained = bench
        .database
        .pool(
            1,
            &[
                ("session_preload_libraries", "auto_explain"),
                ("auto_explain.log_min_duration", "0"),
                ("auto_explain.log_analyze", "on"),
                ("auto_explain.log_timing", "off"),
                ("client_min_messages", "log"),
            ],
        )
        .await?;
    let store = Store::new(explained);
    let told = Told::default();
    let layered = tracing_subscriber::registry().with(told.clone());
    // Enough rounds for a prepared statement to get its generic plan, which is the one that stays.
    let guard = subscriber::set_default(layered);
    let mut granted = 0;
    for _ in 0..8 {
        let mut tx = store.begin().await?;
        tx.coordinate(bench.cast.pool).await?;
        granted += tx.grant(bench.cast.pool, 25, seed::now()).await?.len();
        tx.commit().await?;
    }
    drop(guard);
    ensure!(granted == 200, "{granted} of 200 were granted");
    end_all(bench).await?;
    let told = told
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    ensure!(
        told.iter().any(|plan| plan.contains("tickets_waiting")),
        "auto_explain told nothing of the grant: {told:?}"
    );
    Ok(told)
}

/// As between a restore and the first autovacuum.
async fn forget_statistics(bench: &Bench<'_>) -> Result<()> {
    for statement in [
        "delete from pg_statistic where starelid in
             ('tickets'::regclass, 'investigations'::regclass, 'sandboxes'::regclass)",
        "update pg_class set reltuples = -1
          where oid in ('tickets'::regclass, 'investigations'::regclass, 'sandboxes'::regclass)",
    ] {
        sqlx::query(statement)
            .execute(&bench.database.admin)
            .await?;
    }
    Ok(())
}

/// What is bad about a plan, one line each.
fn faults(plan: &str) -> Vec<String> {
    let bad = |line: &&str| {
        let walks = LONG
            .iter()
            .any(|table| line.contains(&format!("Seq Scan on {table}")));
        walks || line.contains("Merge Join") || line.contains("Hash Join")
    };
    plan.lines()
        .filter(bad)
        .map(|line| line.trim().to_owned())
        .collect()
}

/// Keeps what PostgreSQL tells on the side.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Told {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "sqlx::postgres::notice" {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(message.0);
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.push_str(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_join_or_a_walk_through_history_is_a_fault_and_a_nested_loop_is_none() {
        let good = "Nested Loop\n  ->  Index Scan using tickets_pkey on tickets t";
        assert_eq!(faults(good), Vec::<String>::new());
        assert_eq!(faults("Update\n ->  Seq Scan on sandboxes s").len(), 1);
        assert_eq!(faults("Merge Join\n ->  Index Scan").len(), 1);
    }
}
