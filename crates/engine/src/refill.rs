//! Brings a pool to its target: plans what is missing, gives way to whoever waits, replaces images, and gives
//! up what has been too much for long.

use chrono::{DateTime, Utc};
use nightshift_domain::{PoolId, Sandbox, SandboxId, sizing::Sizing};
use nightshift_protocol::Step;
use nightshift_store::{
    Pool, PoolLevel, StoreError, Tx,
    plant::{Plant, planted},
};

use crate::{Platform, conclude::conclude, rotate};

/// Sandboxes planned in one refill, at most; the next refill plans the rest.
const BATCH: i64 = 32;

/// A pool, how full it is, and how full it should be.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) pool: Pool,
    pub(crate) level: PoolLevel,
    /// How many should be ready, within the pool's ceiling.
    pub(crate) target: i64,
}

/// Plans what is missing. Ready and coming ones are counted in the transaction that plans, under the pool's
/// lock: two refills never make the same sandbox twice.
#[tracing::instrument(name = "engine.refill", skip_all, fields(pool.id = %pool))]
pub async fn refill(platform: &Platform, pool: PoolId) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    let Some(found) = tx.lock_pool(pool).await? else {
        return Ok(());
    };
    let mut level = tx.pool_level(pool, now).await?;
    if planted(Plant::OverProvisioning) {
        (level.coming, level.coming_current, level.live) = (0, 0, level.ready);
    }
    let sizing = Sizing::of(found.target_ready.into(), level.demand);
    let counted = Counted {
        target: sizing.target.min(found.max_sandboxes.into()),
        pool: found,
        level,
    };
    give_way(&mut tx, &counted, now).await?;
    rotate::shrink(&mut tx, &counted, now).await?;
    // Breakers last: whoever holds one waits for nobody.
    let planned = fill(&mut tx, &counted, now).await?;
    if planned >= BATCH {
        tx.enqueue(Step::Refill { pool }, &pool.to_string(), now)
            .await?;
    }
    tx.commit().await?;
    if planned > 0 {
        tracing::info!(
            planned,
            ready = level.ready,
            waiting = level.waiting,
            target = counted.target,
            claims_per_s = sizing.claims_per_s,
            provision_s = sizing.provision_s,
            "Planned sandboxes"
        );
    }
    platform.announce();
    Ok(())
}

impl Counted {
    /// How many more the ceiling allows.
    pub(crate) fn room(&self) -> i64 {
        (i64::from(self.pool.max_sandboxes) - self.level.live).max(0)
    }

    /// How many of the current image are missing. What is left of others serves those who wait as well.
    fn missing_current(&self) -> i64 {
        let level = &self.level;
        let of_others = level.ready + level.coming - level.ready_current - level.coming_current;
        let unserved = (level.waiting - of_others).max(0);
        self.target + unserved - level.ready_current - level.coming_current
    }

    /// How many are missing, whatever their image.
    const fn missing(&self) -> i64 {
        self.target + self.level.waiting - self.level.ready - self.level.coming
    }
}

/// Nobody may wait while others rest: the longest resting ones are ended for them.
async fn give_way(tx: &mut Tx, counted: &Counted, now: DateTime<Utc>) -> Result<(), StoreError> {
    let level = &counted.level;
    let unserved = level.waiting - level.ready - level.coming;
    let needed = (unserved - counted.room()).clamp(0, BATCH);
    if needed > 0 {
        for resting in tx.longest_resting(counted.pool.id, needed).await? {
            conclude(tx, resting, now).await?;
        }
    }
    Ok(())
}

/// Plans sandboxes of the current image as far as its breaker admits, and those of an earlier one that is
/// known to work while the current one is not made. Returns how many.
async fn fill(tx: &mut Tx, counted: &Counted, now: DateTime<Utc>) -> Result<i64, StoreError> {
    let (pool, level) = (&counted.pool, &counted.level);
    let mut room = counted.room().min(BATCH);
    let missing = counted.missing_current();
    let read = tx.breaker(&pool.region, &pool.image).await?;
    let (breaker, admitted) =
        read.breaker
            .clone()
            .admit(missing.min(room), level.coming_current, now);
    let healthy = rotate::is_trusted(&breaker);
    let blocked = admitted == 0 && missing > 0;
    tx.set_breaker(read, &breaker, None).await?;
    rotate::rotate(tx, counted, &breaker, now).await?;
    plan(tx, pool.id, level.generation, admitted, now).await?;
    room -= admitted;
    let still = (counted.missing() - admitted).min(room);
    if healthy || still <= 0 || !(blocked || admitted > 0) {
        return Ok(admitted);
    }
    let Some(earlier) = tx.other_trusted_generation(pool.id).await? else {
        return Ok(admitted);
    };
    tracing::warn!(
        generation = earlier,
        planned = still,
        "Making sandboxes of an earlier image, the current one cannot be made"
    );
    plan(tx, pool.id, earlier, still, now).await?;
    Ok(admitted + still)
}

async fn plan(
    tx: &mut Tx,
    pool: PoolId,
    generation: i64,
    count: i64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for _ in 0..count {
        let new = Sandbox::plan(SandboxId::generate(), pool, now);
        tx.add_sandbox_of(&new, Some(generation), now).await?;
        tx.enqueue(Step::Provision { sandbox: new.id }, &pool.to_string(), now)
            .await?;
    }
    Ok(())
}
