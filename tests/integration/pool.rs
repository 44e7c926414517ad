//! How pools are kept supplied: how many, how fast, when not, of which image, and whether it is true.

mod breaking;
mod pace;
mod reconciling;
mod rotation;
mod sizing;

use std::collections::BTreeMap;

use anyhow::Result;
use nightshift_domain::SandboxId;
use nightshift_engine::Clock;
use nightshift_store::Pool;
use nightshift_tests::World;

/// Sandboxes by state.
pub(crate) async fn states(world: &World) -> Result<BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("select state, count(*) from sandboxes group by 1")
            .fetch_all(&world.pg)
            .await?;
    Ok(rows.into_iter().collect())
}

/// How many sandboxes are in a state.
pub(crate) async fn count(world: &World, state: &str) -> Result<i64> {
    Ok(states(world).await?.get(state).copied().unwrap_or(0))
}

/// How many sandboxes of an image are in a state.
pub(crate) async fn count_of(world: &World, digest: &str, state: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "select count(*) from sandboxes s
           join generations g on g.pool_id = s.pool_id and g.number = s.generation
          where g.image = 'sandbox@' || $1 and s.state = $2",
    )
    .bind(digest)
    .bind(state)
    .fetch_one(&world.pg)
    .await?)
}

/// Points the world's pool at another image.
pub(crate) async fn point_at(world: &World, digest: &str) -> Result<()> {
    let mut tx = world.store().begin().await?;
    let pool = tx.pool(world.pool).await?.unwrap();
    let pool = Pool {
        image: format!("sandbox@{digest}"),
        ..pool
    };
    tx.put_pool(&pool, world.clock.now()).await?;
    Ok(tx.commit().await?)
}

/// Has the pool's demand measured: so many claims in the last minute, so many seconds to make one.
pub(crate) async fn measured(world: &World, claims: i64, provision_s: i64) -> Result<()> {
    let now = world.clock.now();
    sqlx::query("insert into claim_counts (pool_id, at, claims) values ($1, $2, $3)")
        .bind(world.pool.as_uuid())
        .bind(now)
        .bind(claims)
        .execute(&world.pg)
        .await?;
    sqlx::query(
        "insert into provision_times (pool_id, took_ms, ready_at)
         select $1, $2, $3 from generate_series(1, 200)",
    )
    .bind(world.pool.as_uuid())
    .bind(provision_s * 1_000)
    .bind(now)
    .execute(&world.pg)
    .await?;
    Ok(())
}

/// The app of a sandbox.
pub(crate) fn app_of(sandbox: SandboxId) -> String {
    nightshift_engine::provision::app_name(sandbox)
}
