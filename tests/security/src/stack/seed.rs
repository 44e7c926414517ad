//! Rows: tenants, alerts, and investigations at work.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use nightshift_domain::{
    AlertId, EndpointId, Epoch, Investigation, InvestigationId, PoolId, Sandbox, SandboxId,
    TenantId,
    alert::{Alert, AlertStatus, Severity, Signal},
    sandbox::Parts,
};
use nightshift_mcp_kit::{Clock, SystemClock};
use nightshift_protocol::run::RunStatus;
use nightshift_store::{Delivery, Disposition, Endpoint, Pool, Store};
use serde_json::json;
use sqlx::PgPool;

use super::Run;

/// The image that sandboxes run.
pub(crate) const DIGEST: &str =
    "sha256:5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// Writes rows as the database's owner.
pub(crate) struct Seeds {
    pub(crate) store: Store,
    pg: PgPool,
    pool: PoolId,
}

impl Seeds {
    pub(crate) async fn plant(pg: PgPool) -> Result<Self> {
        let store = Store::new(pg.clone());
        let mut tx = store.begin().await?;
        let pool = Pool {
            id: PoolId::generate(),
            name: "default".to_owned(),
            region: "here".to_owned(),
            image: format!("sandbox@{DIGEST}"),
            target_ready: 1,
            max_sandboxes: 10,
        };
        let pool = tx.put_pool(&pool, SystemClock.now()).await?;
        tx.commit().await?;
        Ok(Self { store, pg, pool })
    }

    /// A tenant whose telemetry and code are in `store`, with a run at work.
    pub(crate) async fn tenant_at_work(
        &self,
        slug: &str,
        store: &str,
        fired_at: DateTime<Utc>,
    ) -> Result<Run> {
        let mut tx = self.store.begin().await?;
        let tenant = tx.put_tenant(slug, 10, 10, SystemClock.now()).await?;
        for server in ["telemetry", "codebase"] {
            let connection = json!({ "backend": "recording", "store": store });
            tx.put_connection(tenant, server, &connection).await?;
        }
        tx.commit().await?;
        self.run(tenant, slug, fired_at).await
    }

    /// A run of the tenant at work, in a sandbox of its own.
    pub(crate) async fn run(
        &self,
        tenant: TenantId,
        key: &str,
        fired_at: DateTime<Utc>,
    ) -> Result<Run> {
        let alert = self.alert(tenant, key, fired_at).await?;
        let id = InvestigationId::generate();
        let now = SystemClock.now();
        let new = Investigation::open(id, tenant, alert.incident, alert.id, now);
        let mut tx = self.store.begin().await?;
        tx.open_investigation(&new, self.pool).await?;
        tx.commit().await?;
        // It begins where a grant was made.
        for made_by_opening in [
            "delete from tickets where investigation_id = $1",
            "delete from outbox where kind = 'claim_wake' and $1::uuid is not null",
        ] {
            let statement = sqlx::query(made_by_opening).bind(id.as_uuid());
            statement.execute(&self.pg).await?;
        }
        let (sandbox, epoch) = self.start(id).await?;
        let status = RunStatus {
            investigation: id,
            tenant,
            sandbox,
            epoch,
            fired_at,
            connections: BTreeMap::new(),
        };
        Ok(Run { status })
    }

    async fn alert(&self, tenant: TenantId, key: &str, fired_at: DateTime<Utc>) -> Result<Alert> {
        let now = SystemClock.now();
        let signal = Signal {
            source_key: key.to_owned(),
            status: AlertStatus::Firing,
            title: format!("{key} is slow"),
            service: Some("frontend".to_owned()),
            severity: Severity::High,
            fired_at,
            link: None,
            details: json!({}),
        };
        let mut tx = self.store.begin().await?;
        let endpoint = Endpoint {
            id: EndpointId::generate(),
            tenant,
            source: "generic".to_owned(),
            path_token: EndpointId::generate().to_string(),
            secret_refs: Vec::new(),
            mapping: None,
        };
        tx.put_endpoint(&endpoint, now).await?;
        let delivery = Delivery {
            tenant,
            endpoint: endpoint.id,
            key,
            disposition: Disposition::Signal,
            detail: None,
            body: b"{}",
        };
        let delivery = tx.keep_delivery(delivery, now).await?;
        let delivery = delivery.context("the delivery is new")?;
        let incident = tx.touch_incident(tenant, "generic", &signal, now).await?;
        let alert = Alert {
            id: AlertId::generate(),
            tenant,
            incident,
            source: "generic".to_owned(),
            signal,
            received_at: now,
        };
        tx.add_alert(&alert, delivery).await?;
        tx.commit().await?;
        Ok(alert)
    }

    /// Gives a queued investigation a sandbox, and lets that work.
    pub(crate) async fn start(&self, id: InvestigationId) -> Result<(SandboxId, Epoch)> {
        let now = SystemClock.now();
        let new = Sandbox::plan(SandboxId::generate(), self.pool, now);
        let mut tx = self.store.begin().await?;
        tx.add_sandbox(&new, now).await?;
        for step in 0..3 {
            let sandbox = tx.sandbox(new.id).await?.context("it was just made")?;
            let moved = match step {
                0 => sandbox.provision(now)?,
                1 => sandbox.ready(now)?,
                _ => sandbox.claim(id, now)?,
            };
            tx.apply_sandbox(moved, now).await?;
        }
        let sandbox = tx.sandbox(new.id).await?.context("it was just made")?;
        let found = tx.investigation(id).await?.context("it was just opened")?;
        tx.apply(found.claim(sandbox.id, sandbox.epoch, now)?, now)
            .await?;
        let found = tx.investigation(id).await?.context("it was just opened")?;
        tx.apply(found.attest(sandbox.epoch, now)?, now).await?;
        tx.commit().await?;
        Ok((sandbox.id, sandbox.epoch))
    }

    /// Cancels the run.
    pub(crate) async fn cancel(&self, run: &Run) -> Result<()> {
        let now = SystemClock.now();
        let mut tx = self.store.begin().await?;
        let found = tx.investigation(run.status.investigation).await?;
        let found = found.context("there is such a run")?;
        tx.apply(found.cancel("it is over".to_owned(), now)?, now)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Loses the run's sandbox and gives the investigation another one.
    pub(crate) async fn move_elsewhere(&self, run: &Run) -> Result<Run> {
        let (now, id) = (SystemClock.now(), run.status.investigation);
        let mut tx = self.store.begin().await?;
        let sandbox = tx
            .sandbox(run.status.sandbox)
            .await?
            .context("it has one")?;
        tx.apply_sandbox(sandbox.retire("its host is gone", now)?, now)
            .await?;
        let found = tx.investigation(id).await?.context("there is such a run")?;
        tx.apply(found.requeue(now)?, now).await?;
        tx.commit().await?;
        let (sandbox, epoch) = self.start(id).await?;
        let mut moved = run.clone();
        (moved.status.sandbox, moved.status.epoch) = (sandbox, epoch);
        Ok(moved)
    }
}

/// Sandboxes whose machines attest themselves.
impl Seeds {
    /// A ready sandbox of this machine.
    pub(crate) async fn machine(&self, machine: &str, parts: Parts) -> Result<()> {
        let now = SystemClock.now();
        let new = Sandbox::plan(SandboxId::generate(), self.pool, now);
        let mut tx = self.store.begin().await?;
        tx.add_sandbox(&new, now).await?;
        tx.apply_sandbox(new.clone().provision(now)?, now).await?;
        let made = tx.sandbox(new.id).await?.context("it was just made")?;
        tx.apply_sandbox(made.learn(parts)?, now).await?;
        let made = tx.sandbox(new.id).await?.context("it was just made")?;
        tx.apply_sandbox(made.ready(now)?, now).await?;
        tx.commit().await?;
        tracing::debug!(machine, "Made ready");
        Ok(())
    }

    /// Gives an investigation the sandbox of this machine, starts it, and says at which epoch.
    pub(crate) async fn claim_machine(&self, machine: &str) -> Result<i64> {
        let now = SystemClock.now();
        let mut tx = self.store.begin().await?;
        let tenant = tx.put_tenant("acme", 10, 10, now).await?;
        tx.commit().await?;
        let alert = self.alert(tenant, machine, now).await?;
        let id = InvestigationId::generate();
        let new = Investigation::open(id, tenant, alert.incident, alert.id, now);
        let mut tx = self.store.begin().await?;
        tx.open_investigation(&new, self.pool).await?;
        let found = tx.sandbox_by_machine(machine).await?;
        let (found, _) = found.context("there is such a machine")?;
        let sandbox = found.id;
        let claimed = found.claim(id, now)?;
        let epoch = claimed.next.epoch;
        tx.apply_sandbox(claimed, now).await?;
        let queued = tx.investigation(id).await?.context("it was just opened")?;
        tx.apply(queued.claim(sandbox, epoch, now)?, now).await?;
        let claimed = tx.investigation(id).await?.context("it was just opened")?;
        tx.apply(claimed.start(epoch, now)?, now).await?;
        tx.commit().await?;
        Ok(epoch.0)
    }
}
