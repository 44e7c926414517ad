//! The `alerts` table: signals that fired.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::{
    AlertId, DeliveryId, TenantId,
    alert::{Alert, AlertStatus, Severity, Signal},
};
use uuid::Uuid;

use crate::{CorruptRow, Store, StoreError, Tx, Whose};

impl Tx {
    /// Stores an alert.
    #[tracing::instrument(name = "store.alert.add", skip_all, fields(alert.id = %alert.id))]
    pub async fn add_alert(
        &mut self,
        alert: &Alert,
        delivery: DeliveryId,
    ) -> Result<(), StoreError> {
        let signal = &alert.signal;
        sqlx::query!(
            "insert into alerts (id, tenant_id, incident_id, delivery_id, source, status, title,
                                 service, severity, fired_at, link, details, received_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            alert.id.as_uuid(),
            alert.tenant.as_uuid(),
            alert.incident.as_uuid(),
            delivery.as_uuid(),
            alert.source,
            signal.status.as_str(),
            signal.title,
            signal.service,
            signal.severity.as_str(),
            signal.fired_at,
            signal.link,
            signal.details,
            alert.received_at,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }
}

impl Store {
    /// Reads an alert of a tenant.
    #[tracing::instrument(name = "store.alert.get", skip(self))]
    pub async fn alert(&self, tenant: TenantId, id: AlertId) -> Result<Option<Alert>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "select a.id, a.tenant_id, a.incident_id, a.source, i.source_key, a.status, a.title,
                    a.service, a.severity, a.fired_at, a.link, a.details, a.received_at
               from alerts a
               join incidents i on i.id = a.incident_id
              where a.id = $1 and a.tenant_id = $2",
            id.as_uuid(),
            tenant.as_uuid(),
        )
        .fetch_optional(&mut *self.reading(Whose::Tenant(tenant)).await?)
        .await?;
        Ok(row.map(Alert::try_from).transpose()?)
    }

    /// The other alerts of the tenant that fired within `window` of this one, nearest first, at
    /// most 50.
    #[tracing::instrument(name = "store.alert.near", skip(self))]
    pub async fn alerts_near(
        &self,
        tenant: TenantId,
        id: AlertId,
        window: TimeDelta,
    ) -> Result<Vec<Alert>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "select a.id, a.tenant_id, a.incident_id, a.source, i.source_key, a.status, a.title,
                    a.service, a.severity, a.fired_at, a.link, a.details, a.received_at
               from alerts it
               join alerts a on a.tenant_id = it.tenant_id and a.id <> it.id
               join incidents i on i.id = a.incident_id
              where it.id = $1 and it.tenant_id = $2
                and a.fired_at between it.fired_at - make_interval(secs => $3)
                                   and it.fired_at + make_interval(secs => $3)
              order by abs(extract(epoch from a.fired_at - it.fired_at)), a.id
              limit 50",
            id.as_uuid(),
            tenant.as_uuid(),
            window.as_seconds_f64(),
        )
        .fetch_all(&mut *self.reading(Whose::Tenant(tenant)).await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(Alert::try_from)
            .collect::<Result<_, _>>()?)
    }
}

struct Row {
    id: Uuid,
    tenant_id: Uuid,
    incident_id: Uuid,
    source: String,
    source_key: String,
    status: String,
    title: String,
    service: Option<String>,
    severity: String,
    fired_at: DateTime<Utc>,
    link: Option<String>,
    details: serde_json::Value,
    received_at: DateTime<Utc>,
}

impl TryFrom<Row> for Alert {
    type Error = CorruptRow;

    fn try_from(row: Row) -> Result<Self, CorruptRow> {
        let id = AlertId::from(row.id);
        let corrupt = |column| CorruptRow {
            table: "alerts",
            column,
            row: id.to_string(),
        };
        let status = match row.status.as_str() {
            "firing" => AlertStatus::Firing,
            "resolved" => AlertStatus::Resolved,
            _ => return Err(corrupt("status")),
        };
        let severity = match row.severity.as_str() {
            "critical" => Severity::Critical,
            "high" => Severity::High,
            "warning" => Severity::Warning,
            "info" => Severity::Info,
            _ => return Err(corrupt("severity")),
        };
        Ok(Self {
            id,
            tenant: row.tenant_id.into(),
            incident: row.incident_id.into(),
            source: row.source,
            signal: Signal {
                source_key: row.source_key,
                status,
                title: row.title,
                service: row.service,
                severity,
                fired_at: row.fired_at,
                link: row.link,
                details: row.details,
            },
            received_at: row.received_at,
        })
    }
}
