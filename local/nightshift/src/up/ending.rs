//! What an orderly end leaves: no sandbox but those of investigations that are not finished.

use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use nightshift_domain::{InvestigationId, SandboxId};
use nightshift_engine::{Platform, causes, conclude::conclude, retire::retire};
use nightshift_store::{StoreError, views::Part};

/// Sandboxes destroyed at once.
const AT_ONCE: usize = 8;
/// How often destroying one is tried, and the pause between.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);
/// How long destroying may take; what is left is destroyed at the next start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Rows looked at.
const MOST: i64 = 10_000;

/// Ends reported investigations and destroys every sandbox that no unfinished one holds.
pub(super) async fn clear(platform: &Platform) -> Result<()> {
    for id in in_state(platform, "resting").await? {
        let mut tx = platform.store.begin().await?;
        if let Some(resting) = tx.investigation(id).await? {
            conclude(&mut tx, resting, platform.clock.now()).await?;
            tx.commit().await?;
        }
    }
    let idle = idle_sandboxes(platform).await?;
    let destroyed = stream::iter(idle).for_each_concurrent(AT_ONCE, |id| async move {
        if let Err(error) = destroy_patiently(platform, id).await {
            tracing::warn!(sandbox.id = %id, error, "Could not destroy a sandbox; the next start does");
        }
    });
    if tokio::time::timeout(PATIENCE, destroyed).await.is_err() {
        tracing::warn!("Destroying took too long; the next start goes on");
    }
    Ok(())
}

/// Investigations that go on at the next start.
pub(super) async fn unfinished(platform: &Platform) -> Result<Vec<InvestigationId>> {
    let mut found = Vec::new();
    for state in ["queued", "claimed", "starting", "working"] {
        found.extend(in_state(platform, state).await?);
    }
    Ok(found)
}

async fn in_state(platform: &Platform, state: &str) -> Result<Vec<InvestigationId>, StoreError> {
    let part = Part {
        before: None,
        limit: MOST,
    };
    let rows = platform.store.view_investigations(None, Some(state), part);
    Ok(rows.await?.into_iter().map(|row| row.id).collect())
}

async fn idle_sandboxes(platform: &Platform) -> Result<Vec<SandboxId>, StoreError> {
    let part = Part {
        before: None,
        limit: MOST,
    };
    let rows = platform.store.view_sandboxes(None, None, part).await?;
    let idle = rows.into_iter().filter(|row| row.state != "claimed");
    Ok(idle.map(|row| row.id).collect())
}

/// A provider lets go of a destroyed machine's volume a little later, so a first no is not the last.
async fn destroy_patiently(platform: &Platform, id: SandboxId) -> Result<(), String> {
    for _ in 1..ATTEMPTS {
        if destroy(platform, id).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    destroy(platform, id).await
}

async fn destroy(platform: &Platform, id: SandboxId) -> Result<(), String> {
    let told = |error: StoreError| causes(&error);
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await.map_err(told)?;
    if let Some(sandbox) = tx.sandbox(id).await.map_err(told)?
        && let Ok(retiring) = sandbox.retire("the stack was ended", now)
    {
        tx.apply_sandbox(retiring, now).await.map_err(told)?;
        tx.commit().await.map_err(told)?;
    }
    retire(platform, id).await.map_err(|error| causes(&error))
}
