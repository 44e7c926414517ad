//! The `outbox` table: steps to carry out.
//!
//! A row is leased while it is handed over and deleted afterwards. A lease that runs out is taken again: at
//! least once, never lost.
//!
//! Neither leasing nor deleting waits for the disk. A crash of the server may forget the last of them (never
//! the row, nor what was committed before it): the step is then handed over once more, as after any crash.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::{Envelope, Step};

use crate::{Store, StoreError, Tx};

/// A step that was taken from the outbox and must be settled before its lease ends.
#[derive(Debug, Clone, PartialEq)]
pub struct LeasedStep {
    /// The outbox row.
    pub id: i64,
    /// Which step: `dispatch`, `provision`, …
    pub kind: String,
    /// The queue's group: a pool, a tenant or a sandbox.
    pub group_key: String,
    /// Which attempt this is, from 1.
    pub attempt: i32,
    /// The step's JSON, as it was written; a version that we cannot read stays readable for people.
    pub payload: serde_json::Value,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it was due.
    pub due_at: DateTime<Utc>,
}

impl AsRef<Self> for LeasedStep {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// What became of a leased step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Handed over, or it no longer matters.
    Done,
    /// To be tried again from this time on.
    Again {
        /// Not before.
        due_at: DateTime<Utc>,
        /// Why.
        error: String,
    },
    /// Parked for a person.
    Dead {
        /// Why.
        error: String,
    },
}

impl Tx {
    /// Writes a step that is due now.
    pub async fn enqueue(
        &mut self,
        step: Step,
        group_key: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.enqueue_at(step, group_key, now, now).await
    }

    /// Writes a step that is due at `due_at`.
    #[tracing::instrument(name = "store.outbox.enqueue", skip_all, fields(step = step.kind()))]
    pub async fn enqueue_at(
        &mut self,
        step: Step,
        group_key: &str,
        due_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        #[cfg(feature = "plants")]
        if self.is_folded(step, group_key).await? {
            return Ok(());
        }
        sqlx::query!(
            "insert into outbox (kind, group_key, payload, created_at, due_at)
             values ($1, $2, $3, $4, $5)",
            step.kind(),
            group_key,
            sqlx::types::Json(Envelope::new(step, self.trace)) as _,
            now,
            due_at,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }
}

impl Store {
    /// Takes up to `limit` due steps for `lease`, oldest first. Relays that run side by side pass over each
    /// other's rows.
    #[tracing::instrument(name = "store.outbox.lease", skip(self))]
    pub async fn lease_steps(
        &self,
        now: DateTime<Utc>,
        lease: TimeDelta,
        limit: i64,
    ) -> Result<Vec<LeasedStep>, StoreError> {
        self.watched.at("outbox.lease").await?;
        let mut steps = sqlx::query_as!(
            LeasedStep,
            r#"with due as materialized (
                 -- Not a plain subquery: the planner may run one anew for each row, and each time
                 -- it passes over those that were taken already, beyond the limit.
                 select id from outbox
                  where dead_at is null and due_at <= $1
                    and (leased_until is null or leased_until <= $1)
                  order by due_at, id
                  limit $3
                    for update skip locked
             )
             update outbox o
                set leased_until = $2, attempts = o.attempts + 1
               from due
              where (select set_config('synchronous_commit', 'off', true)) = 'off'
                and o.id = due.id
             returning o.id, o.kind, o.group_key, o.attempts as "attempt", o.payload, o.created_at,
                       o.due_at"#,
            now,
            now + lease,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        steps.sort_by_key(|step| step.id);
        self.watched.at("outbox.leased").await?;
        Ok(steps)
    }

    /// Settles steps that were leased together: those that are done in one statement, each other by
    /// itself. The first failure ends it; what is not settled comes again when its lease ends.
    #[tracing::instrument(name = "store.outbox.settle_batch", skip_all, fields(steps = settled.len()))]
    pub async fn settle_steps(
        &self,
        settled: &[(&LeasedStep, &Settlement)],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.watched.at("outbox.settle").await?;
        let is_done = |settlement: &Settlement| *settlement == Settlement::Done;
        let done: Vec<i64> = settled
            .iter()
            .filter(|(_, settlement)| is_done(settlement))
            .map(|(step, _)| step.id)
            .collect();
        if !done.is_empty() {
            sqlx::query!(
                "delete from outbox
                  where (select set_config('synchronous_commit', 'off', true)) = 'off'
                    and id = any($1)",
                &done,
            )
            .execute(&self.pool)
            .await?;
        }
        for (step, settlement) in settled {
            if !is_done(settlement) {
                self.settle_step(step, (*settlement).clone(), now).await?;
            }
        }
        self.watched.at("outbox.settled").await
    }

    /// Settles a leased step. A lease that was lost to another relay is left alone.
    #[tracing::instrument(name = "store.outbox.settle", skip(self, step), fields(outbox.id = step.id))]
    pub async fn settle_step(
        &self,
        step: &LeasedStep,
        settlement: Settlement,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        match settlement {
            Settlement::Done => {
                sqlx::query!("delete from outbox where id = $1", step.id)
                    .execute(&self.pool)
                    .await?;
            }
            Settlement::Again { due_at, error } => {
                sqlx::query!(
                    "update outbox set due_at = $3, leased_until = null, last_error = $4
                      where id = $1 and attempts = $2",
                    step.id,
                    step.attempt,
                    due_at,
                    error,
                )
                .execute(&self.pool)
                .await?;
            }
            Settlement::Dead { error } => {
                sqlx::query!(
                    "update outbox set dead_at = $3, leased_until = null, last_error = $4
                      where id = $1 and attempts = $2",
                    step.id,
                    step.attempt,
                    now,
                    error,
                )
                .execute(&self.pool)
                .await?;
            }
        }
        Ok(())
    }

    /// Ends every lease and tells how many there were: what a killed relay held is due at once. Only for
    /// who knows that no other relay runs, as on one machine; a relay that does run only sees its steps
    /// carried out twice.
    #[tracing::instrument(name = "store.outbox.release", skip(self))]
    pub async fn release_leases(&self) -> Result<u64, StoreError> {
        let released =
            sqlx::query!("update outbox set leased_until = null where leased_until is not null")
                .execute(&self.pool)
                .await?;
        Ok(released.rows_affected())
    }

    /// When the next step is due or the next lease ends, if any waits.
    #[tracing::instrument(name = "store.outbox.next_due", skip(self))]
    pub async fn next_step_due(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let due = sqlx::query_scalar!(
            "select min(greatest(due_at, coalesce(leased_until, due_at)))
               from outbox
              where dead_at is null",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(due)
    }
}
