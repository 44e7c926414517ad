//! Planted bugs that are SQL: each statement as somebody in a hurry would write it.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::{
    Epoch, InvestigationId, PoolId, SandboxId,
    investigation::CLAIM_PATIENCE,
    sandbox::{CLAIMED_PATIENCE, RETIRE_PATIENCE},
};
use nightshift_protocol::Step;
use uuid::Uuid;

use super::{Plant, planted};
use crate::{Granted, StoreError, Tx};

impl Tx {
    /// Pairs tickets with sandboxes that were ready when it looked, whatever became of them since.
    pub(crate) async fn grant_unlocked(
        &mut self,
        pool: PoolId,
        tickets: &[Uuid],
        now: DateTime<Utc>,
    ) -> Result<Vec<Granted>, StoreError> {
        let tickets: Vec<(Uuid, Uuid)> = sqlx::query_as(
            "select investigation_id, tenant_id from tickets
              where investigation_id = any($1) order by array_position($1, investigation_id)",
        )
        .bind(tickets)
        .fetch_all(&mut *self.conn)
        .await?;
        let ready: Vec<(Uuid, i64)> = sqlx::query_as(
            "select id, epoch from sandboxes
              where pool_id = $1 and state = 'ready' order by ready_at, id limit $2",
        )
        .bind(pool.as_uuid())
        .bind(i64::try_from(tickets.len()).unwrap_or(1))
        .fetch_all(&mut *self.conn)
        .await?;
        let mut granted = Vec::new();
        for ((investigation, tenant), (sandbox, epoch)) in tickets.into_iter().zip(ready) {
            let pair = (investigation, sandbox, epoch + 1);
            self.write_pair(pair, now).await?;
            let one = Granted {
                investigation: investigation.into(),
                sandbox: sandbox.into(),
                epoch: Epoch(epoch + 1),
                waited: TimeDelta::zero(),
            };
            let step = Step::Dispatch {
                investigation: one.investigation,
                sandbox: one.sandbox,
                epoch: one.epoch,
            };
            self.enqueue(step, &tenant.to_string(), now).await?;
            granted.push(one);
        }
        Ok(granted)
    }

    async fn write_pair(
        &mut self,
        (investigation, sandbox, epoch): (Uuid, Uuid, i64),
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "update sandboxes set state = 'claimed', investigation_id = $2, epoch = $3,
                    deadline_at = $4, version = version + 1, reason = null
              where id = $1",
        )
        .bind(sandbox)
        .bind(investigation)
        .bind(epoch)
        .bind(now + CLAIMED_PATIENCE)
        .execute(&mut *self.conn)
        .await?;
        sqlx::query(
            "update investigations set state = 'claimed', sandbox_id = $2, epoch = $3,
                    deadline_at = $4, granted_at = coalesce(granted_at, $5), version = version + 1
              where id = $1",
        )
        .bind(investigation)
        .bind(sandbox)
        .bind(epoch)
        .bind(now + CLAIM_PATIENCE)
        .bind(now)
        .execute(&mut *self.conn)
        .await?;
        sqlx::query(
            "update tickets set state = 'granted', granted_at = $2 where investigation_id = $1",
        )
        .bind(investigation)
        .bind(now)
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// Whether whoever has waited longest is a tenant at its limit.
    pub(crate) async fn first_is_at_its_limit(&mut self, pool: PoolId) -> Result<bool, StoreError> {
        let at_its_limit: Option<bool> = sqlx::query_scalar(
            "select (select count(*) from investigations i
                      where i.tenant_id = t.tenant_id
                        and i.state in ('claimed', 'starting', 'working')) >= n.max_running
               from tickets t
               join tenants n on n.id = t.tenant_id
              where t.pool_id = $1 and t.state = 'waiting'
              order by t.place limit 1",
        )
        .bind(pool.as_uuid())
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(at_its_limit.unwrap_or_default())
    }

    /// The tickets of the same tenants, the newest first.
    pub(crate) async fn newest_instead(
        &mut self,
        tickets: Vec<Uuid>,
    ) -> Result<Vec<Uuid>, StoreError> {
        let newest = sqlx::query_scalar(
            "select n.investigation_id
               from tickets t
               cross join lateral (select investigation_id from tickets
                                    where tenant_id = t.tenant_id and state = 'waiting'
                                    order by place desc limit 1) n
              where t.investigation_id = any($1)
              group by n.investigation_id",
        )
        .bind(tickets)
        .fetch_all(&mut *self.conn)
        .await?;
        Ok(newest)
    }

    /// Retires what was ready when it looked.
    pub(crate) async fn retire_seen_ready(
        &mut self,
        pool: PoolId,
        (generation, same): (i64, bool),
        limit: i64,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<SandboxId>, StoreError> {
        let seen: Vec<Uuid> = sqlx::query_scalar(
            "select id from sandboxes
              where pool_id = $1 and state = 'ready' and (generation = $2) = $3
              order by ready_at, id limit $4",
        )
        .bind(pool.as_uuid())
        .bind(generation)
        .bind(same)
        .bind(limit)
        .fetch_all(&mut *self.conn)
        .await?;
        sqlx::query(
            "update sandboxes set state = 'retiring', reason = $2, epoch = epoch + 1,
                    deadline_at = $3, version = version + 1
              where id = any($1)",
        )
        .bind(&seen)
        .bind(reason)
        .bind(now + RETIRE_PATIENCE)
        .execute(&mut *self.conn)
        .await?;
        Ok(seen.into_iter().map(SandboxId::from).collect())
    }

    /// Whether a wake is taken for told because another one has not left the outbox.
    pub(crate) async fn is_folded(
        &mut self,
        step: Step,
        group_key: &str,
    ) -> Result<bool, StoreError> {
        if !planted(Plant::LostCoalescedWake) || !matches!(step, Step::ClaimWake { .. }) {
            return Ok(false);
        }
        let folded = sqlx::query_scalar(
            "select exists (select from outbox
                             where kind = 'claim_wake' and group_key = $1 and dead_at is null)",
        )
        .bind(group_key)
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(folded)
    }

    /// Returns a granted ticket to the end of the queue.
    pub(crate) async fn return_ticket_to_the_end(
        &mut self,
        investigation: InvestigationId,
    ) -> Result<Option<PoolId>, StoreError> {
        let returned: Option<(Uuid, Uuid, DateTime<Utc>)> = sqlx::query_as(
            "delete from tickets where investigation_id = $1 and state = 'granted'
             returning tenant_id, pool_id, created_at",
        )
        .bind(investigation.as_uuid())
        .fetch_optional(&mut *self.conn)
        .await?;
        let Some((tenant, pool, created_at)) = returned else {
            return Ok(None);
        };
        sqlx::query(
            "insert into tickets (investigation_id, tenant_id, pool_id, state, created_at)
             values ($1, $2, $3, 'waiting', $4)",
        )
        .bind(investigation.as_uuid())
        .bind(tenant)
        .bind(pool)
        .bind(created_at)
        .execute(&mut *self.conn)
        .await?;
        Ok(Some(pool.into()))
    }
}
