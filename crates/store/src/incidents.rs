//! The `incidents` table: alerts that belong together by their sender's own identity.

use chrono::{DateTime, Utc};
use nightshift_domain::{
    IncidentId, TenantId,
    alert::{AlertStatus, Signal},
};

use crate::{StoreError, Tx};

impl Tx {
    /// Finds or opens the incident of a signal, and notes whether it holds. Locks its row, so that
    /// signals of one incident are taken in one after the other.
    #[tracing::instrument(name = "store.incident.touch", skip_all)]
    pub async fn touch_incident(
        &mut self,
        tenant: TenantId,
        source: &str,
        signal: &Signal,
        now: DateTime<Utc>,
    ) -> Result<IncidentId, StoreError> {
        let resolved = signal.status == AlertStatus::Resolved;
        let id = sqlx::query_scalar!(
            "insert into incidents (id, tenant_id, source, source_key, title, status, opened_at, resolved_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (tenant_id, source, source_key) do update
                set status = excluded.status, resolved_at = excluded.resolved_at
             returning id",
            IncidentId::generate().as_uuid(),
            tenant.as_uuid(),
            source,
            signal.source_key,
            signal.title,
            if resolved { "resolved" } else { "open" },
            now,
            resolved.then_some(now),
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(id.into())
    }
}
