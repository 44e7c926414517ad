//! The `investigations` table.

use chrono::{DateTime, Utc};
use nightshift_domain::{
    Epoch, IncidentId, Investigation, InvestigationId, PoolId, Version,
    investigation::{Run, State, Transition},
};
use uuid::Uuid;

use crate::{CorruptRow, Overdue, Store, StoreError, Tx, Whose};

impl Tx {
    /// Reads one investigation.
    #[tracing::instrument(name = "store.investigation.get", skip(self))]
    pub async fn investigation(
        &mut self,
        id: InvestigationId,
    ) -> Result<Option<Investigation>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "select id, tenant_id, incident_id, alert_id, state, sandbox_id, epoch, deadline_at,
                    ended_at, reason, restarts, version, created_at
               from investigations
              where id = $1",
            id.as_uuid(),
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(row.map(Investigation::try_from).transpose()?)
    }

    /// Locks an investigation until this transaction ends: nothing moves it meanwhile.
    #[tracing::instrument(name = "store.investigation.lock", skip(self))]
    pub async fn lock_investigation(&mut self, id: InvestigationId) -> Result<(), StoreError> {
        sqlx::query!(
            "select id from investigations where id = $1 for no key update",
            id.as_uuid(),
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// The newest investigation of an incident that was not given up, if there is one.
    #[tracing::instrument(name = "store.investigation.of_incident", skip(self))]
    pub async fn investigation_of(
        &mut self,
        incident: IncidentId,
    ) -> Result<Option<InvestigationId>, StoreError> {
        let id = sqlx::query_scalar!(
            "select id from investigations
              where incident_id = $1 and state not in ('cancelled', 'failed')
              order by created_at desc
              limit 1",
            incident.as_uuid(),
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(id.map(InvestigationId::from))
    }

    /// Makes a transition true, or fails with [`StoreError::Stale`] if the investigation moved since
    /// it was read. The move is written to its event log, heartbeats excepted.
    #[tracing::instrument(
        name = "store.investigation.apply",
        skip_all,
        fields(investigation.id = %transition.next.id, event = transition.event),
    )]
    pub async fn apply(
        &mut self,
        transition: Transition,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let Transition { next, event } = transition;
        let run = next.state.run();
        let (ended_at, reason) = match &next.state {
            State::Concluded { at } => (Some(*at), None),
            State::Cancelled { at, reason } | State::Failed { at, reason } => {
                (Some(*at), Some(reason.as_str()))
            }
            State::Queued { .. }
            | State::Claimed(_)
            | State::Starting(_)
            | State::Working(_)
            | State::Resting(_) => (None, None),
        };
        let written = sqlx::query!(
            "update investigations
                set state = $3, sandbox_id = $4, epoch = $5, deadline_at = $6, ended_at = $7,
                    reason = $8, restarts = $9, version = version + 1
              where id = $1 and version = $2",
            next.id.as_uuid(),
            next.version.0,
            next.state.name(),
            run.map(|run| run.sandbox.as_uuid()),
            run.map(|run| run.epoch.0),
            next.state.deadline_at(),
            ended_at,
            reason,
            next.restarts,
        )
        .execute(&mut *self.conn)
        .await?;
        if written.rows_affected() == 0 {
            return Err(StoreError::Stale(next.id.to_string()));
        }
        if event == "heartbeat" || event == "waited" {
            return Ok(());
        }
        let mut detail = serde_json::json!({});
        if let Some(run) = run {
            detail["epoch"] = run.epoch.0.into();
        }
        if let Some(reason) = reason {
            detail["reason"] = reason.into();
        }
        self.add_event(next.id, event, &detail, now).await
    }

    /// The next investigations whose deadline is over, oldest first. Skips rows that someone is changing.
    #[tracing::instrument(name = "store.investigation.overdue", skip(self))]
    pub async fn overdue_investigations(
        &mut self,
        overdue: &mut Overdue,
        limit: i64,
    ) -> Result<Vec<Investigation>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "select id, tenant_id, incident_id, alert_id, state, sandbox_id, epoch, deadline_at,
                    ended_at, reason, restarts, version, created_at
               from investigations
              where deadline_at <= $1 and (deadline_at, id) > ($2, $3)
              order by deadline_at, id
              limit $4
                for update skip locked",
            overdue.at,
            overdue.seen.0,
            overdue.seen.1,
            limit,
        )
        .fetch_all(&mut *self.conn)
        .await?;
        if let Some(last) = rows.last() {
            overdue.pass(last.deadline_at, last.id);
        }
        Ok(rows
            .into_iter()
            .map(Investigation::try_from)
            .collect::<Result<_, _>>()?)
    }

    /// The investigations that have rested longest in sandboxes of a pool, to let those go when
    /// others wait.
    #[tracing::instrument(name = "store.investigation.rested", skip(self))]
    pub async fn longest_resting(
        &mut self,
        pool: PoolId,
        limit: i64,
    ) -> Result<Vec<Investigation>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "select i.id, i.tenant_id, i.incident_id, i.alert_id, i.state, i.sandbox_id, i.epoch,
                    i.deadline_at, i.ended_at, i.reason, i.restarts, i.version, i.created_at
               from investigations i
               join sandboxes s on s.id = i.sandbox_id
              where i.state = 'resting' and s.pool_id = $1
              order by i.deadline_at
              limit $2
                for update of i skip locked",
            pool.as_uuid(),
            limit,
        )
        .fetch_all(&mut *self.conn)
        .await?;
        Ok(rows
            .into_iter()
            .map(Investigation::try_from)
            .collect::<Result<_, _>>()?)
    }

    /// When an investigation first got a sandbox.
    pub async fn first_granted_at(
        &mut self,
        id: InvestigationId,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let at = sqlx::query_scalar!(
            "select granted_at from investigations where id = $1",
            id.as_uuid(),
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(at.flatten())
    }
}

impl Store {
    /// The tenant of an investigation that is working at exactly this epoch; `None` otherwise. This is
    /// what makes a run token worth something.
    #[tracing::instrument(name = "store.investigation.live", skip(self))]
    pub async fn live_run(
        &self,
        id: InvestigationId,
        epoch: Epoch,
    ) -> Result<Option<Investigation>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "select id, tenant_id, incident_id, alert_id, state, sandbox_id, epoch, deadline_at,
                    ended_at, reason, restarts, version, created_at
               from investigations
              where id = $1 and epoch = $2 and state = 'working'",
            id.as_uuid(),
            epoch.0,
        )
        .fetch_optional(&mut *self.reading(Whose::RunOf(id)).await?)
        .await?;
        Ok(row.map(Investigation::try_from).transpose()?)
    }
}

struct Row {
    id: Uuid,
    tenant_id: Uuid,
    incident_id: Uuid,
    alert_id: Uuid,
    state: String,
    sandbox_id: Option<Uuid>,
    epoch: Option<i64>,
    deadline_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    reason: Option<String>,
    restarts: i32,
    version: i64,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Investigation {
    type Error = CorruptRow;

    fn try_from(row: Row) -> Result<Self, CorruptRow> {
        let id = InvestigationId::from(row.id);
        let run = match (row.sandbox_id, row.epoch, row.deadline_at) {
            (Some(sandbox), Some(epoch), Some(deadline_at)) => Some(Run {
                sandbox: sandbox.into(),
                epoch: Epoch(epoch),
                deadline_at,
            }),
            _ => None,
        };
        let state = match (
            row.state.as_str(),
            run,
            row.deadline_at,
            row.ended_at,
            row.reason,
        ) {
            ("queued", None, Some(deadline_at), None, None) => State::Queued { deadline_at },
            ("claimed", Some(run), _, None, None) => State::Claimed(run),
            ("starting", Some(run), _, None, None) => State::Starting(run),
            ("working", Some(run), _, None, None) => State::Working(run),
            ("resting", Some(run), _, None, None) => State::Resting(run),
            ("concluded", None, None, Some(at), None) => State::Concluded { at },
            ("cancelled", None, None, Some(at), Some(reason)) => State::Cancelled { at, reason },
            ("failed", None, None, Some(at), Some(reason)) => State::Failed { at, reason },
            _ => {
                return Err(CorruptRow {
                    table: "investigations",
                    column: "state",
                    row: id.to_string(),
                });
            }
        };
        Ok(Self {
            id,
            tenant: row.tenant_id.into(),
            incident: row.incident_id.into(),
            alert: row.alert_id.into(),
            created_at: row.created_at,
            state,
            restarts: row.restarts,
            version: Version(row.version),
        })
    }
}
