//! The database as it is between two commits.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

/// Everything that the invariants speak of.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Snapshot {
    /// Investigations, oldest first.
    pub investigations: Vec<InvestigationRow>,
    /// Sandboxes, oldest first.
    pub sandboxes: Vec<SandboxRow>,
    /// The pool's generation.
    pub generation: Option<i64>,
    /// Tickets, by place.
    pub tickets: Vec<TicketRow>,
    /// Steps that wait.
    pub outbox: Vec<OutboxRow>,
    /// Reports.
    pub reports: Vec<ReportRow>,
    /// Alerts that were accepted.
    pub alerts: i64,
    /// Questions without an answer, by investigation.
    pub unanswered: BTreeMap<Uuid, i64>,
}

/// One investigation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the columns' names say it")]
pub struct InvestigationRow {
    pub id: Uuid,
    pub tenant_id: Uuid,
    pub state: String,
    pub sandbox_id: Option<Uuid>,
    pub epoch: Option<i64>,
    pub deadline_at: Option<DateTime<Utc>>,
    pub reason: Option<String>,
    pub version: i64,
}

/// One sandbox.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the columns' names say it")]
pub struct SandboxRow {
    pub id: Uuid,
    pub state: String,
    pub investigation_id: Option<Uuid>,
    pub reason: Option<String>,
    pub epoch: i64,
    pub attested_epoch: i64,
    pub app: Option<String>,
    pub machine: Option<String>,
    pub deadline_at: Option<DateTime<Utc>>,
    pub version: i64,
    pub generation: i64,
}

/// One ticket.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the columns' names say it")]
pub struct TicketRow {
    pub place: i64,
    pub investigation_id: Uuid,
    pub tenant_id: Uuid,
    pub state: String,
}

/// One step that waits.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the columns' names say it")]
pub struct OutboxRow {
    pub id: i64,
    pub kind: String,
    pub payload: Value,
    pub due_at: DateTime<Utc>,
    pub dead_at: Option<DateTime<Utc>>,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the columns' names say it")]
pub struct ReportRow {
    pub investigation_id: Uuid,
    pub epoch: i64,
    pub submitted_at: DateTime<Utc>,
}

/// One statement, so that it sees one moment.
const READ: &str = "
select json_build_object(
    'investigations', (select coalesce(json_agg(r order by r.id), '[]') from
        (select id, tenant_id, state, sandbox_id, epoch, deadline_at, reason, version
           from investigations) r),
    'sandboxes', (select coalesce(json_agg(r order by r.id), '[]') from
        (select id, state, investigation_id, reason, epoch, attested_epoch, app, machine, deadline_at,
                version, generation
           from sandboxes) r),
    'generation', (select max(generation) from pools),
    'tickets', (select coalesce(json_agg(r order by r.place), '[]') from
        (select place, investigation_id, tenant_id, state from tickets) r),
    'outbox', (select coalesce(json_agg(r order by r.id), '[]') from
        (select id, kind, payload, due_at, dead_at from outbox) r),
    'reports', (select coalesce(json_agg(r order by r.investigation_id), '[]') from
        (select investigation_id, epoch, submitted_at from reports) r),
    'alerts', (select count(*) from alerts),
    'unanswered', (select coalesce(json_object_agg(r.investigation_id, r.count), '{}') from
        (select investigation_id, count(*) from messages
          where answered_at is null group by 1 order by 1) r)
)::text";

impl Snapshot {
    /// Reads the database.
    pub async fn read(monitor: &PgPool) -> anyhow::Result<Self> {
        let text: String = sqlx::query_scalar(READ).fetch_one(monitor).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// One investigation.
    #[must_use]
    pub fn investigation(&self, id: Uuid) -> Option<&InvestigationRow> {
        let found = self.investigations.binary_search_by_key(&id, |row| row.id);
        found.ok().and_then(|index| self.investigations.get(index))
    }

    /// One sandbox.
    #[must_use]
    pub fn sandbox(&self, id: Uuid) -> Option<&SandboxRow> {
        let found = self.sandboxes.binary_search_by_key(&id, |row| row.id);
        found.ok().and_then(|index| self.sandboxes.get(index))
    }

    /// The ticket of an investigation.
    #[must_use]
    pub fn ticket(&self, investigation: Uuid) -> Option<&TicketRow> {
        let theirs = |row: &&TicketRow| row.investigation_id == investigation;
        self.tickets.iter().find(theirs)
    }

    /// Sandboxes of one of these states.
    #[must_use]
    pub fn count(&self, states: &[&str]) -> usize {
        let one_of = |row: &&SandboxRow| states.contains(&row.state.as_str());
        self.sandboxes.iter().filter(one_of).count()
    }

    /// Tickets that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &TicketRow> {
        self.tickets
            .iter()
            .filter(|ticket| ticket.state == "waiting")
    }

    /// How many sandboxes a tenant's investigations hold at work.
    #[must_use]
    pub fn running(&self, tenant: Uuid) -> usize {
        let runs = |row: &&InvestigationRow| {
            row.tenant_id == tenant
                && matches!(row.state.as_str(), "claimed" | "starting" | "working")
        };
        self.investigations.iter().filter(runs).count()
    }
}

impl InvestigationRow {
    /// Whether it holds a sandbox.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(
            self.state.as_str(),
            "claimed" | "starting" | "working" | "resting"
        )
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "concluded" | "cancelled" | "failed")
    }

    /// Its state and start, for the trace.
    #[must_use]
    pub fn at(&self) -> String {
        match (self.sandbox_id, self.epoch) {
            (Some(sandbox), Some(epoch)) => {
                format!("{} sbx_{}@{epoch}", self.state, sandbox.simple())
            }
            _ => self.state.clone(),
        }
    }
}
