//! Alerts as an operator sees them.

use chrono::{DateTime, Utc};
use nightshift_domain::{AlertId, IncidentId, TenantId};

use super::Part;
use crate::{Store, StoreError, Whose};

/// A signal that fired or recovered.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRow {
    /// Its identity.
    pub id: AlertId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The incident it belongs to.
    pub incident: IncidentId,
    /// Which kind of sender.
    pub source: String,
    /// The sender's identity of what fired.
    pub source_key: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// One line.
    pub title: String,
    /// The service it is about.
    pub service: Option<String>,
    /// How bad the sender says it is.
    pub severity: String,
    /// When it fired, says the sender.
    pub fired_at: DateTime<Utc>,
    /// When we accepted it.
    pub received_at: DateTime<Utc>,
    /// A page about it at the sender.
    pub link: Option<String>,
    /// What else the sender said.
    pub details: serde_json::Value,
}

impl Store {
    /// Alerts, newest first.
    #[tracing::instrument(name = "store.view.alerts", skip(self))]
    pub async fn view_alerts(
        &self,
        tenant: Option<TenantId>,
        incident: Option<IncidentId>,
        part: Part<AlertId>,
    ) -> Result<Vec<AlertRow>, StoreError> {
        let rows = sqlx::query!(
            "select a.id, a.tenant_id, a.incident_id, a.source, i.source_key, a.status, a.title,
                    a.service, a.severity, a.fired_at, a.received_at, a.link, a.details
               from alerts a
               join incidents i on i.id = a.incident_id
              where ($1::uuid is null or a.tenant_id = $1)
                and ($2::uuid is null or a.incident_id = $2)
                and ($3::uuid is null or a.id < $3)
              order by a.id desc
              limit $4",
            tenant.map(TenantId::as_uuid),
            incident.map(IncidentId::as_uuid),
            part.before.map(AlertId::as_uuid),
            part.limit,
        )
        .fetch_all(&mut *self.reading(Whose::of(tenant)).await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| AlertRow {
                id: row.id.into(),
                tenant: row.tenant_id.into(),
                incident: row.incident_id.into(),
                source: row.source,
                source_key: row.source_key,
                status: row.status,
                title: row.title,
                service: row.service,
                severity: row.severity,
                fired_at: row.fired_at,
                received_at: row.received_at,
                link: row.link,
                details: row.details,
            })
            .collect())
    }
}
