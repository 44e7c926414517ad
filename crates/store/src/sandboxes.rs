//! The `sandboxes` table.

use chrono::{DateTime, Utc};
use nightshift_domain::{
    Epoch, Sandbox, SandboxId, Version,
    sandbox::{Parts, SandboxState, Transition},
};
use uuid::Uuid;

use crate::{CorruptRow, Overdue, StoreError, Tx};

/// Which start of a sandbox got its tokens, and with which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestedBy {
    /// The last start that attested; zero if none did.
    pub epoch: Epoch,
    /// RFC 7638 thumbprint of its key.
    pub key_thumbprint: Option<String>,
}

impl Tx {
    /// Stores a planned sandbox of its pool's current generation.
    pub async fn add_sandbox(
        &mut self,
        new: &Sandbox,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.add_sandbox_of(new, None, now).await
    }

    /// Stores a planned sandbox of one generation of its pool, or of the current one.
    #[tracing::instrument(name = "store.sandbox.add", skip_all, fields(sandbox.id = %new.id))]
    pub async fn add_sandbox_of(
        &mut self,
        new: &Sandbox,
        generation: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into sandboxes (id, pool_id, state, deadline_at, created_at, generation)
             values ($1, $2, $3, $4, $5,
                     coalesce($6, (select generation from pools where id = $2)))",
            new.id.as_uuid(),
            new.pool.as_uuid(),
            new.state.name(),
            new.deadline_at,
            now,
            generation,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// Reads one sandbox.
    #[tracing::instrument(name = "store.sandbox.get", skip(self))]
    pub async fn sandbox(&mut self, id: SandboxId) -> Result<Option<Sandbox>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "select id, pool_id, state, investigation_id, reason, epoch, app, volume, machine,
                    machine_version, deadline_at, version
               from sandboxes
              where id = $1",
            id.as_uuid(),
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(row.map(Sandbox::try_from).transpose()?)
    }

    /// Reads the sandbox that a machine belongs to, and which start of it attested. Locks the row:
    /// attestations of one machine are decided one after the other.
    #[tracing::instrument(name = "store.sandbox.by_machine", skip(self))]
    pub async fn sandbox_by_machine(
        &mut self,
        machine: &str,
    ) -> Result<Option<(Sandbox, AttestedBy)>, StoreError> {
        let row = sqlx::query!(
            "select id, pool_id, state, investigation_id, reason, epoch, app, volume, machine,
                    machine_version, deadline_at, version, attested_epoch, key_thumbprint
               from sandboxes
              where machine = $1
                for update",
            machine,
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let attested = AttestedBy {
            epoch: Epoch(row.attested_epoch),
            key_thumbprint: row.key_thumbprint,
        };
        let row = Row {
            id: row.id,
            pool_id: row.pool_id,
            state: row.state,
            investigation_id: row.investigation_id,
            reason: row.reason,
            epoch: row.epoch,
            app: row.app,
            volume: row.volume,
            machine: row.machine,
            machine_version: row.machine_version,
            deadline_at: row.deadline_at,
            version: row.version,
        };
        Ok(Some((row.try_into()?, attested)))
    }

    /// Notes which start of a sandbox got its tokens.
    #[tracing::instrument(name = "store.sandbox.attested", skip(self, key_thumbprint))]
    pub async fn note_attested(
        &mut self,
        id: SandboxId,
        epoch: Epoch,
        key_thumbprint: &str,
    ) -> Result<(), StoreError> {
        let written = sqlx::query!(
            "update sandboxes set attested_epoch = $2, key_thumbprint = $3
              where id = $1 and epoch = $2 and attested_epoch < $2",
            id.as_uuid(),
            epoch.0,
            key_thumbprint,
        )
        .execute(&mut *self.conn)
        .await?;
        if written.rows_affected() == 0 {
            return Err(StoreError::Stale(id.to_string()));
        }
        Ok(())
    }

    /// Makes a transition true, or fails with [`StoreError::Stale`] if the sandbox moved since it was
    /// read.
    #[tracing::instrument(
        name = "store.sandbox.apply",
        skip_all,
        fields(sandbox.id = %transition.next.id, state = transition.next.state.name()),
    )]
    pub async fn apply_sandbox(
        &mut self,
        transition: Transition,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let next = transition.next;
        let (investigation, reason) = match &next.state {
            SandboxState::Claimed { investigation } => (Some(investigation.as_uuid()), None),
            SandboxState::Retiring { reason } | SandboxState::Gone { reason } => {
                (None, Some(reason.as_str()))
            }
            SandboxState::Planned | SandboxState::Provisioning | SandboxState::Ready => {
                (None, None)
            }
        };
        let ready = next.state == SandboxState::Ready;
        let written = sqlx::query!(
            "update sandboxes
                set state = $3, investigation_id = coalesce($4, investigation_id), reason = $5,
                    epoch = $6, app = $7, volume = $8, machine = $9, machine_version = $10,
                    deadline_at = $11, ready_at = case when $12 then $13 else ready_at end,
                    version = version + 1
              where id = $1 and version = $2",
            next.id.as_uuid(),
            next.version.0,
            next.state.name(),
            investigation,
            reason,
            next.epoch.0,
            next.parts.app,
            next.parts.volume,
            next.parts.machine,
            next.parts.machine_version,
            next.deadline_at,
            ready,
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        if written.rows_affected() == 0 {
            return Err(StoreError::Stale(next.id.to_string()));
        }
        Ok(())
    }

    /// The next sandboxes whose deadline is over, oldest first. Skips rows that someone is changing.
    #[tracing::instrument(name = "store.sandbox.overdue", skip(self))]
    pub async fn overdue_sandboxes(
        &mut self,
        overdue: &mut Overdue,
        limit: i64,
    ) -> Result<Vec<Sandbox>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "select id, pool_id, state, investigation_id, reason, epoch, app, volume, machine,
                    machine_version, deadline_at, version
               from sandboxes
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
            .map(Sandbox::try_from)
            .collect::<Result<_, _>>()?)
    }
}

struct Row {
    id: Uuid,
    pool_id: Uuid,
    state: String,
    investigation_id: Option<Uuid>,
    reason: Option<String>,
    epoch: i64,
    app: Option<String>,
    volume: Option<String>,
    machine: Option<String>,
    machine_version: Option<String>,
    deadline_at: Option<DateTime<Utc>>,
    version: i64,
}

impl TryFrom<Row> for Sandbox {
    type Error = CorruptRow;

    fn try_from(row: Row) -> Result<Self, CorruptRow> {
        let id = SandboxId::from(row.id);
        let state = match (row.state.as_str(), row.investigation_id, row.reason) {
            ("planned", None, None) => SandboxState::Planned,
            ("provisioning", None, None) => SandboxState::Provisioning,
            ("ready", None, None) => SandboxState::Ready,
            ("claimed", Some(investigation), None) => SandboxState::Claimed {
                investigation: investigation.into(),
            },
            ("retiring", _, Some(reason)) => SandboxState::Retiring { reason },
            ("gone", _, Some(reason)) => SandboxState::Gone { reason },
            _ => {
                return Err(CorruptRow {
                    table: "sandboxes",
                    column: "state",
                    row: id.to_string(),
                });
            }
        };
        Ok(Self {
            id,
            pool: row.pool_id.into(),
            state,
            epoch: Epoch(row.epoch),
            parts: Parts {
                app: row.app,
                volume: row.volume,
                machine: row.machine,
                machine_version: row.machine_version,
            },
            deadline_at: row.deadline_at,
            version: Version(row.version),
        })
    }
}
