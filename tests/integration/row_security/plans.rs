//! The engine pays nothing for the wall: its statements have the plans that they have without one.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use nightshift_store::Role;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool, Row};

/// What tells each statement of a grant from all others, and what it is asked.
const GRANT: [(&str, &str); 3] = [
    (
        "with recursive waiting (tenant_id)",
        "('00000000-0000-7000-8000-000000000001', 25)",
    ),
    (
        "and generation = (select generation from pools",
        "('00000000-0000-7000-8000-000000000001', 25)",
    ),
    (
        "with pairs as materialized",
        "('{}', '{}', now(), now(), now(), 1)",
    ),
];

/// The text of a statement, from what the build was checked against.
fn statement(mark: &str) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.sqlx");
    for entry in fs::read_dir(folder)? {
        let described: Value = serde_json::from_str(&fs::read_to_string(entry?.path())?)?;
        let text = described["query"].as_str().unwrap_or_default();
        if text.contains(mark) && !text.starts_with("with chosen") {
            return Ok(text.to_owned());
        }
    }
    None.with_context(|| format!("no statement says `{mark}`"))
}

/// How it is carried out, as a prepared statement that has its generic plan, with what `coordinate` says.
async fn plan(pool: &PgPool, mark: &str, arguments: &str) -> Result<String> {
    let mut one = pool.acquire().await?;
    let text = statement(mark)?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "set plan_cache_mode = force_generic_plan; set enable_hashjoin = off; set enable_mergejoin = off;
         set enable_seqscan = off; set jit = off; deallocate all; prepare one as {text}"
    )))
    .execute(&mut *one)
    .await?;
    let rows = sqlx::raw_sql(AssertSqlSafe(format!(
        "explain (verbose) execute one {arguments}"
    )))
    .fetch_all(&mut *one)
    .await?;
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(lines.join("\n"))
}

#[sqlx::test(migrations = "../migrations")]
async fn a_grant_has_the_same_plan_and_cost_with_the_wall_as_without(pg: PgPool) -> Result<()> {
    let engine = Role::Engine.acting(&pg.connect_options(), 1).await?;
    for (mark, arguments) in GRANT {
        // A superuser is shown everything: there is no wall in its plans.
        let without = plan(&pg, mark, arguments).await?;
        let with = plan(&engine, mark, arguments).await?;
        assert_eq!(with, without);
        assert!(!with.contains("nightshift_tenant"), "{with}");
    }
    // The comparison would see it: a role that works for one tenant pays.
    sqlx::query("grant select on claim_counts, tenants to nightshift_api")
        .execute(&pg)
        .await?;
    let api = Role::Api.acting(&pg.connect_options(), 1).await?;
    let query = "explain (verbose) select id from alerts where tenant_id = gen_random_uuid()";
    let walled: Vec<String> = sqlx::query_scalar(query).fetch_all(&api).await?;
    assert!(
        walled.join("\n").contains("nightshift.tenant"),
        "{walled:?}"
    );
    Ok(())
}
