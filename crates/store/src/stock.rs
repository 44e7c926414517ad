//! The stock of a pool: what is granted first, what is given up first, and what the provider should have.

use chrono::{DateTime, Utc};
use nightshift_domain::{PoolId, SandboxId, sandbox::RETIRE_PATIENCE};
use uuid::Uuid;

#[cfg(feature = "plants")]
use crate::plant::{Plant, planted};
use crate::{StoreError, Tx};

/// Which ready sandboxes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// Those of this generation.
    Of(i64),
    /// Those of every other generation.
    NotOf(i64),
}

/// A sandbox whose machine is known, as reconciliation looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which sandbox.
    pub sandbox: SandboxId,
    /// `ready` or `claimed`.
    pub state: String,
    /// Where it is.
    pub region: String,
    /// Its app.
    pub app: String,
    /// Its machine.
    pub machine: String,
}

impl Tx {
    /// The ready sandboxes that are granted next, locked: the pool's current generation first, then the newest
    /// before it; the longest ready first within each. Those that others hold are passed over.
    pub(crate) async fn take_ready(
        &mut self,
        pool: PoolId,
        wanted: i64,
    ) -> Result<Vec<Uuid>, StoreError> {
        let mut taken = sqlx::query_scalar!(
            "select id from sandboxes
              where pool_id = $1 and state = 'ready'
                and generation = (select generation from pools where id = $1)
              order by ready_at, id
              limit $2
                for update skip locked",
            pool.as_uuid(),
            wanted,
        )
        .fetch_all(&mut *self.conn)
        .await?;
        let lacking = wanted - i64::try_from(taken.len()).unwrap_or(wanted);
        if lacking > 0 {
            // Only while an image is replaced is there anything to find.
            let others = sqlx::query_scalar!(
                "select id from sandboxes
                  where pool_id = $1 and state = 'ready'
                    and generation <> (select generation from pools where id = $1)
                  order by generation desc, ready_at, id
                  limit $2
                    for update skip locked",
                pool.as_uuid(),
                lacking,
            )
            .fetch_all(&mut *self.conn)
            .await?;
            taken.extend(others);
        }
        Ok(taken)
    }

    /// Begins to destroy up to `limit` ready sandboxes, the longest ready first. What was claimed in the
    /// meantime is not ready any more and is left alone: the state is part of the write, and a row that
    /// somebody else holds is passed over. This is the domain's `retire`, for many at once.
    #[tracing::instrument(name = "store.stock.retire_ready", skip(self))]
    pub async fn retire_ready(
        &mut self,
        pool: PoolId,
        which: Ready,
        limit: i64,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<SandboxId>, StoreError> {
        let (generation, same) = match which {
            Ready::Of(generation) => (generation, true),
            Ready::NotOf(generation) => (generation, false),
        };
        #[cfg(feature = "plants")]
        if planted(Plant::RetireOfClaimed) {
            let which = (generation, same);
            return self
                .retire_seen_ready(pool, which, limit, reason, now)
                .await;
        }
        let retired = sqlx::query_scalar!(
            "with chosen as materialized (
                 -- Not a plain subquery: the planner may run one anew for each row, and each time
                 -- it passes over those that were updated already, beyond the limit.
                 select id from sandboxes
                  where pool_id = $1 and state = 'ready' and (generation = $2) = $3
                  order by ready_at, id
                  limit $4
                    for update skip locked
             )
             update sandboxes s
                set state = 'retiring', reason = $5, epoch = s.epoch + 1, deadline_at = $6,
                    version = s.version + 1
               from chosen
              where s.id = chosen.id and s.state = 'ready'
             returning s.id",
            pool.as_uuid(),
            generation,
            same,
            limit,
            reason,
            now + RETIRE_PATIENCE,
        )
        .fetch_all(&mut *self.conn)
        .await?;
        Ok(retired.into_iter().map(SandboxId::from).collect())
    }

    /// Whether ready sandboxes of other images than the current one are left in a pool.
    pub async fn has_ready_of_others(&mut self, pool: PoolId) -> Result<bool, StoreError> {
        let found = sqlx::query_scalar!(
            r#"select exists (select from sandboxes s
                                join pools p on p.id = s.pool_id
                               where s.pool_id = $1 and s.state = 'ready'
                                 and s.generation <> p.generation) as "found!""#,
            pool.as_uuid(),
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(found)
    }

    /// Every sandbox that waits ready or is held and whose machine is known.
    #[tracing::instrument(name = "store.stock.standing", skip(self))]
    pub async fn standing(&mut self) -> Result<Vec<Standing>, StoreError> {
        let rows = sqlx::query!(
            r#"select s.id, s.state, p.region, s.app as "app!", s.machine as "machine!"
                 from sandboxes s
                 join pools p on p.id = s.pool_id
                where s.state in ('ready', 'claimed') and s.app is not null
                  and s.machine is not null"#,
        )
        .fetch_all(&mut *self.conn)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Standing {
                sandbox: row.id.into(),
                state: row.state,
                region: row.region,
                app: row.app,
                machine: row.machine,
            })
            .collect())
    }

    /// The states of those of these sandboxes that we ever planned, and whether their machine is known.
    #[tracing::instrument(name = "store.stock.known", skip(self, ids), fields(sandboxes = ids.len()))]
    pub async fn known(
        &mut self,
        ids: &[SandboxId],
    ) -> Result<Vec<(SandboxId, String, bool)>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let rows = sqlx::query!(
            r#"select id, state, machine is not null as "has_machine!"
                 from sandboxes where id = any($1)"#,
            &ids,
        )
        .fetch_all(&mut *self.conn)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.id.into(), row.state, row.has_machine))
            .collect())
    }
}
