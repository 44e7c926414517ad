//! Investigations as an operator sees them.

use chrono::{DateTime, Utc};
use nightshift_domain::{AlertId, IncidentId, InvestigationId, SandboxId, TenantId};
use uuid::Uuid;

use super::Part;
use crate::{Store, StoreError, Whose};

/// An investigation and the alert that opened it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvestigationRow {
    /// Its identity.
    pub id: InvestigationId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is about.
    pub incident: IncidentId,
    /// The alert that opened it.
    pub alert: AlertId,
    /// Where it is in its life: `queued`, `claimed`, `starting`, `working`, `resting`, `concluded`,
    /// `cancelled` or `failed`.
    pub state: String,
    /// The alert in one line.
    pub title: String,
    /// The service the alert is about.
    pub service: Option<String>,
    /// How bad the sender says it is.
    pub severity: String,
    /// When the alert fired, says its sender.
    pub fired_at: DateTime<Utc>,
    /// When the alert was accepted.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it failed or was cancelled.
    pub reason: Option<String>,
    /// The sandbox it holds.
    pub sandbox: Option<SandboxId>,
    /// The start of it that may speak.
    pub epoch: Option<i64>,
    /// How often its sandbox was started again after going silent.
    pub restarts: i32,
    /// Its place among those that wait for a sandbox; smaller is earlier.
    pub waiting_place: Option<i64>,
}

/// The first time that something happened to an investigation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What: an event's kind.
    pub kind: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl Store {
    /// Investigations, newest first.
    #[tracing::instrument(name = "store.view.investigations", skip(self))]
    pub async fn view_investigations(
        &self,
        tenant: Option<TenantId>,
        state: Option<&str>,
        part: Part<InvestigationId>,
    ) -> Result<Vec<InvestigationRow>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"select i.id, i.tenant_id, i.incident_id, i.alert_id, i.state, a.title, a.service,
                      a.severity, a.fired_at, i.created_at, i.ended_at, i.reason, i.sandbox_id,
                      i.epoch, i.restarts, t.place as "waiting_place?"
                 from investigations i
                 join alerts a on a.id = i.alert_id
                 left join tickets t on t.investigation_id = i.id and t.state = 'waiting'
                where ($1::uuid is null or i.tenant_id = $1)
                  and ($2::text is null or i.state = $2)
                  and ($3::uuid is null or i.id < $3)
                order by i.id desc
                limit $4"#,
            tenant.map(TenantId::as_uuid),
            state,
            part.before.map(InvestigationId::as_uuid),
            part.limit,
        )
        .fetch_all(&mut *self.reading(Whose::of(tenant)).await?)
        .await?;
        Ok(rows.into_iter().map(InvestigationRow::from).collect())
    }

    /// One investigation.
    #[tracing::instrument(name = "store.view.investigation", skip(self))]
    pub async fn view_investigation(
        &self,
        tenant: Option<TenantId>,
        id: InvestigationId,
    ) -> Result<Option<InvestigationRow>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"select i.id, i.tenant_id, i.incident_id, i.alert_id, i.state, a.title, a.service,
                      a.severity, a.fired_at, i.created_at, i.ended_at, i.reason, i.sandbox_id,
                      i.epoch, i.restarts, t.place as "waiting_place?"
                 from investigations i
                 join alerts a on a.id = i.alert_id
                 left join tickets t on t.investigation_id = i.id and t.state = 'waiting'
                where i.id = $1 and ($2::uuid is null or i.tenant_id = $2)"#,
            id.as_uuid(),
            tenant.map(TenantId::as_uuid),
        )
        .fetch_optional(&mut *self.reading(Whose::of(tenant)).await?)
        .await?;
        Ok(row.map(InvestigationRow::from))
    }

    /// When each kind of event first happened to an investigation of a tenant, earliest first.
    #[tracing::instrument(name = "store.view.stages", skip(self))]
    pub async fn view_stages(
        &self,
        tenant: TenantId,
        id: InvestigationId,
    ) -> Result<Vec<Stage>, StoreError> {
        let stages = sqlx::query_as!(
            Stage,
            r#"select kind, min(at) as "at!"
                 from investigation_events
                where investigation_id = $1
                group by kind
                order by min(at), min(seq)"#,
            id.as_uuid(),
        )
        .fetch_all(&mut *self.reading(Whose::Tenant(tenant)).await?)
        .await?;
        Ok(stages)
    }
}

struct Row {
    id: Uuid,
    tenant_id: Uuid,
    incident_id: Uuid,
    alert_id: Uuid,
    state: String,
    title: String,
    service: Option<String>,
    severity: String,
    fired_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    reason: Option<String>,
    sandbox_id: Option<Uuid>,
    epoch: Option<i64>,
    restarts: i32,
    waiting_place: Option<i64>,
}

impl From<Row> for InvestigationRow {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            incident: row.incident_id.into(),
            alert: row.alert_id.into(),
            state: row.state,
            title: row.title,
            service: row.service,
            severity: row.severity,
            fired_at: row.fired_at,
            created_at: row.created_at,
            ended_at: row.ended_at,
            reason: row.reason,
            sandbox: row.sandbox_id.map(SandboxId::from),
            epoch: row.epoch,
            restarts: row.restarts,
            waiting_place: row.waiting_place,
        }
    }
}
