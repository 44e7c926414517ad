//! The `investigation_events` table: what happened to an investigation.

use chrono::{DateTime, Utc};
use nightshift_domain::{InvestigationId, TenantId};

use crate::{Store, StoreError, Tx, Whose};

/// Something that happened to an investigation.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its place in the log; grows.
    pub seq: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// What: `accepted`, `claimed`, `started`, `attested`, `working`, `evidence`, `lent`, `reported`, …
    pub kind: String,
    /// More about it.
    pub detail: serde_json::Value,
}

impl Tx {
    /// Notes something that happened to an investigation.
    pub async fn add_event(
        &mut self,
        investigation: InvestigationId,
        kind: &str,
        detail: &serde_json::Value,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into investigation_events (investigation_id, at, kind, detail)
             values ($1, $2, $3, $4)",
            investigation.as_uuid(),
            at,
            kind,
            detail,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }
}

impl Store {
    /// The events of an investigation after `seq`, oldest first, at most 500. With a tenant, only if the
    /// investigation is that tenant's.
    #[tracing::instrument(name = "store.event.after", skip(self))]
    pub async fn events_after(
        &self,
        tenant: Option<TenantId>,
        investigation: InvestigationId,
        seq: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let events = sqlx::query_as!(
            StoredEvent,
            "select e.seq, e.at, e.kind, e.detail
               from investigation_events e
               join investigations i on i.id = e.investigation_id
              where e.investigation_id = $1 and e.seq > $2
                and ($3::uuid is null or i.tenant_id = $3)
              order by e.seq
              limit 500",
            investigation.as_uuid(),
            seq,
            tenant.map(TenantId::as_uuid),
        )
        .fetch_all(&mut *self.reading(Whose::of(tenant)).await?)
        .await?;
        Ok(events)
    }
}
