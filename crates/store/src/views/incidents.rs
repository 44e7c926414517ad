//! Incidents as an operator sees them.

use chrono::{DateTime, Utc};
use nightshift_domain::{IncidentId, InvestigationId, TenantId};

use super::Part;
use crate::{Store, StoreError, Whose};

/// Alerts that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentRow {
    /// Its identity.
    pub id: IncidentId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Which kind of sender.
    pub source: String,
    /// The sender's identity of it.
    pub source_key: String,
    /// The first alert in one line.
    pub title: String,
    /// `open` or `resolved`.
    pub status: String,
    /// When we first heard of it.
    pub opened_at: DateTime<Utc>,
    /// When its sender said that it is over.
    pub resolved_at: Option<DateTime<Utc>>,
    /// How many alerts belong to it.
    pub alerts: i64,
    /// Its newest investigation.
    pub investigation: Option<InvestigationId>,
}

impl Store {
    /// Incidents, newest first.
    #[tracing::instrument(name = "store.view.incidents", skip(self))]
    pub async fn view_incidents(
        &self,
        tenant: Option<TenantId>,
        part: Part<IncidentId>,
    ) -> Result<Vec<IncidentRow>, StoreError> {
        let rows = sqlx::query!(
            r#"select i.id, i.tenant_id, i.source, i.source_key, i.title, i.status, i.opened_at,
                      i.resolved_at,
                      (select count(*) from alerts a where a.incident_id = i.id) as "alerts!",
                      (select v.id from investigations v
                        where v.incident_id = i.id
                        order by v.created_at desc limit 1) as investigation
                 from incidents i
                where ($1::uuid is null or i.tenant_id = $1)
                  and ($2::uuid is null or i.id < $2)
                order by i.id desc
                limit $3"#,
            tenant.map(TenantId::as_uuid),
            part.before.map(IncidentId::as_uuid),
            part.limit,
        )
        .fetch_all(&mut *self.reading(Whose::of(tenant)).await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| IncidentRow {
                id: row.id.into(),
                tenant: row.tenant_id.into(),
                source: row.source,
                source_key: row.source_key,
                title: row.title,
                status: row.status,
                opened_at: row.opened_at,
                resolved_at: row.resolved_at,
                alerts: row.alerts,
                investigation: row.investigation.map(InvestigationId::from),
            })
            .collect())
    }
}
