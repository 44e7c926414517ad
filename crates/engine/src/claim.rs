//! Gives waiting investigations their sandboxes: the pool's one coordinator.

use nightshift_domain::PoolId;
use nightshift_protocol::Step;
use nightshift_store::{
    Granted, StoreError,
    plant::{Plant, planted},
};

use crate::Platform;

/// Grants until nobody waits or nothing is ready. Safe to repeat; whoever comes second finds the work
/// done. A ticket that finds no sandbox stays where it is and is served when one is ready. Returns what it
/// granted.
#[tracing::instrument(name = "engine.claim", skip_all, fields(pool.id = %pool))]
pub async fn claim(platform: &Platform, pool: PoolId) -> Result<Vec<Granted>, StoreError> {
    let batch = platform.settings.grant_batch;
    let mut all = Vec::new();
    loop {
        let now = platform.clock.now();
        let mut tx = platform.store.begin().await?;
        if !planted(Plant::GrantWithoutRowLock) {
            tx.coordinate(pool).await?;
        }
        let granted = tx.grant(pool, batch, now).await?;
        let count = i64::try_from(granted.len()).unwrap_or(batch);
        if count > 0 || tx.waiting_in(pool).await? > 0 {
            // What was taken is made anew in the background; nobody waits for it here.
            tx.enqueue(Step::Refill { pool }, &pool.to_string(), now)
                .await?;
        }
        // Starts come before stock: they are charged, and never wait for a token.
        tx.note_claims(pool, count, &platform.settings.limits, now)
            .await?;
        tx.commit().await?;
        platform.announce();
        if !granted.is_empty() {
            tracing::info!(granted = granted.len(), "Granted sandboxes");
        }
        all.extend(granted);
        if count < batch {
            return Ok(all);
        }
    }
}
