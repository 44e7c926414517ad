//! Brings a pool to its target.

use nightshift_domain::{PoolId, Sandbox, SandboxId};
use nightshift_protocol::Step;
use nightshift_store::StoreError;

use crate::{Platform, conclude::conclude};

/// Sandboxes planned in one refill, at most; the next refill plans the rest.
const BATCH: i64 = 32;

/// Plans what is missing. Ready and coming ones are counted in the transaction that plans, under the pool's
/// lock: two refills never make the same sandbox twice.
#[tracing::instrument(name = "engine.refill", skip_all, fields(pool.id = %pool))]
pub async fn refill(platform: &Platform, pool: PoolId) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    let Some(found) = tx.lock_pool(pool).await? else {
        return Ok(());
    };
    let level = tx.pool_level(pool).await?;
    // Those who wait need a sandbox each beyond what should stay ready.
    let wanted = i64::from(found.target_ready) + level.waiting;
    let room = i64::from(found.max_sandboxes) - level.live;
    let missing = wanted - level.ready - level.coming;
    // Nobody may wait while others rest: the longest resting ones are ended for them.
    let unserved = level.waiting - level.ready - level.coming;
    let needed = (unserved - room.max(0)).clamp(0, BATCH);
    if needed > 0 {
        for resting in tx.longest_resting(pool, needed).await? {
            conclude(&mut tx, resting, now).await?;
        }
    }
    let planned = missing.min(room).clamp(0, BATCH);
    for _ in 0..planned {
        let new = Sandbox::plan(SandboxId::generate(), pool, now);
        tx.add_sandbox(&new, now).await?;
        tx.enqueue(Step::Provision { sandbox: new.id }, &pool.to_string(), now)
            .await?;
    }
    if planned == BATCH {
        tx.enqueue(Step::Refill { pool }, &pool.to_string(), now)
            .await?;
    }
    tx.commit().await?;
    if planned > 0 {
        tracing::info!(
            planned,
            ready = level.ready,
            waiting = level.waiting,
            "Planned sandboxes"
        );
    }
    platform.announce();
    Ok(())
}
