//! Sandboxes as an operator sees them.

use chrono::{DateTime, Utc};
use nightshift_domain::{InvestigationId, PoolId, SandboxId, TenantId};

use super::Part;
use crate::{Store, StoreError, Whose};

/// One machine with its volume and network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxRow {
    /// Its identity.
    pub id: SandboxId,
    /// The pool it was made for.
    pub pool: PoolId,
    /// `planned`, `provisioning`, `ready`, `claimed`, `retiring` or `gone`.
    pub state: String,
    /// Whose it is or was.
    pub investigation: Option<InvestigationId>,
    /// The tenant of that investigation.
    pub tenant: Option<TenantId>,
    /// The last start that was granted.
    pub epoch: i64,
    /// What the provider calls its app and network.
    pub app: Option<String>,
    /// What the provider calls its machine.
    pub machine: Option<String>,
    /// What the provider calls its volume.
    pub volume: Option<String>,
    /// Why it is or was retired.
    pub reason: Option<String>,
    /// When it was planned.
    pub created_at: DateTime<Utc>,
    /// When it became ready.
    pub ready_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Sandboxes, newest first: those in `state`, or without one all that are not gone.
    #[tracing::instrument(name = "store.view.sandboxes", skip(self))]
    pub async fn view_sandboxes(
        &self,
        tenant: Option<TenantId>,
        state: Option<&str>,
        part: Part<SandboxId>,
    ) -> Result<Vec<SandboxRow>, StoreError> {
        let rows = sqlx::query!(
            r#"select s.id, s.pool_id, s.state, s.investigation_id, i.tenant_id as "tenant_id?",
                      s.epoch, s.app, s.machine, s.volume, s.reason, s.created_at, s.ready_at
                 from sandboxes s
                 left join investigations i on i.id = s.investigation_id
                where ($1::uuid is null or i.tenant_id = $1)
                  and s.state = coalesce($2, s.state)
                  and ($2::text is not null or s.state <> 'gone')
                  and ($3::uuid is null or s.id < $3)
                order by s.id desc
                limit $4"#,
            tenant.map(TenantId::as_uuid),
            state,
            part.before.map(SandboxId::as_uuid),
            part.limit,
        )
        .fetch_all(&mut *self.reading(Whose::of(tenant)).await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| SandboxRow {
                id: row.id.into(),
                pool: row.pool_id.into(),
                state: row.state,
                investigation: row.investigation_id.map(InvestigationId::from),
                tenant: row.tenant_id.map(TenantId::from),
                epoch: row.epoch,
                app: row.app,
                machine: row.machine,
                volume: row.volume,
                reason: row.reason,
                created_at: row.created_at,
                ready_at: row.ready_at,
            })
            .collect())
    }
}
