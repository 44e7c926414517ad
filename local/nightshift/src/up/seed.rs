//! What a fresh database needs: the demo tenant, its endpoints and connections, and the pool.

use anyhow::Result;
use chrono::{DateTime, Utc};
use nightshift_domain::{EndpointId, PoolId};
use nightshift_store::{Endpoint, Pool, Store};
use serde_json::json;

use super::{Size, plan::RECORDINGS_STORE, secrets::StackSecrets};

/// The demo tenant's name.
pub(super) const TENANT: &str = "demo";
/// The senders that the demo tenant has an address for.
pub(super) const SOURCES: [&str; 2] = ["pagerduty", "generic"];
/// Sandboxes the demo tenant may hold at once; the pool's own limit is smaller.
const MAX_RUNNING: i32 = 1_000;
/// Tickets it may have waiting.
const MAX_QUEUED: i32 = 10_000;

/// Writes everything, again on every start; what is there already is brought up to date.
pub(super) async fn seed(
    store: &Store,
    secrets: &StackSecrets,
    image: &str,
    size: &Size,
    now: DateTime<Utc>,
) -> Result<PoolId> {
    let mut tx = store.begin().await?;
    let tenant = tx.put_tenant(TENANT, MAX_RUNNING, MAX_QUEUED, now).await?;
    for source in SOURCES {
        let endpoint = Endpoint {
            id: EndpointId::generate(),
            tenant,
            source: source.to_owned(),
            path_token: secrets.of(&format!("address/{source}"))?.to_owned(),
            secret_refs: vec![format!("webhook/{source}")],
            mapping: None,
        };
        tx.put_endpoint(&endpoint, now).await?;
    }
    let connection = json!({"backend": "recording", "store": RECORDINGS_STORE});
    for server in ["telemetry", "codebase"] {
        tx.put_connection(tenant, server, &connection).await?;
    }
    // Sandboxes of another image serve whoever holds one already; nobody new gets one.
    for id in tx.pool_ids().await? {
        if let Some(old) = tx.pool(id).await? {
            let retired = Pool {
                target_ready: 0,
                ..old
            };
            tx.put_pool(&retired, now).await?;
        }
    }
    let pool = put_pool(&mut tx, image, size, now).await?;
    tx.commit().await?;
    Ok(pool)
}

/// The pool of this image, which new investigations wait for: the newest one.
async fn put_pool(
    tx: &mut nightshift_store::Tx,
    image: &str,
    size: &Size,
    now: DateTime<Utc>,
) -> Result<PoolId> {
    let digest: String = image
        .rsplit(':')
        .next()
        .unwrap_or(image)
        .chars()
        .take(12)
        .collect();
    let pool = |name: String| Pool {
        id: PoolId::generate(),
        name,
        region: "local".to_owned(),
        image: image.to_owned(),
        target_ready: size.ready,
        max_sandboxes: size.most,
    };
    let id = tx.put_pool(&pool(format!("local-{digest}")), now).await?;
    if tx.default_pool().await? == Some(id) {
        return Ok(id);
    }
    // An image of long ago came back; only a new pool is the newest.
    let name = format!("local-{digest}-{}", now.timestamp());
    Ok(tx.put_pool(&pool(name), now).await?)
}
