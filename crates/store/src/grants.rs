//! Pairs waiting tickets with ready sandboxes, a batch at a time.
//!
//! This is the one move that is written for many rows at once and therefore restates in SQL what the domain's
//! `claim` says of one: only a queued investigation, only a ready sandbox, epoch + 1. The check
//! constraints and the partial unique indexes hold it to that.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::{
    Epoch, InvestigationId, PoolId, SandboxId, investigation::CLAIM_PATIENCE,
    sandbox::CLAIMED_PATIENCE,
};
use nightshift_protocol::step::VERSION;
use uuid::Uuid;

#[cfg(feature = "plants")]
use crate::plant::{Plant, planted};
use crate::{StoreError, Tx};

/// A ticket that got its sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// For whom.
    pub investigation: InvestigationId,
    /// Which sandbox.
    pub sandbox: SandboxId,
    /// The start that was granted.
    pub epoch: Epoch,
    /// How long ago the alert was accepted.
    pub waited: TimeDelta,
}

impl Tx {
    /// Becomes the pool's one coordinator until this transaction ends; waits while another one is. It must
    /// wait: whoever turned away here could have been the last to know of a ticket.
    ///
    /// It also holds the planner to nested loops over indices until then. A grant touches a hundred rows of
    /// tables that hold millions: wherever statistics are old, or a table is still small, the planner would choose to walk
    /// one, and the prepared statement would keep that plan while the table grows. So held, a plan for any batch is
    /// the plan for each, and none is made anew.
    #[tracing::instrument(name = "store.grant.coordinate", skip(self))]
    pub async fn coordinate(&mut self, pool: PoolId) -> Result<(), StoreError> {
        let (high, low) = pool.as_uuid().as_u64_pair();
        sqlx::query!(
            "select pg_advisory_xact_lock($1),
                    set_config('enable_hashjoin', 'off', true) as enable_hashjoin,
                    set_config('enable_mergejoin', 'off', true) as enable_mergejoin,
                    set_config('enable_seqscan', 'off', true) as enable_seqscan,
                    set_config('jit', 'off', true) as jit,
                    set_config('plan_cache_mode', 'force_generic_plan', true) as plan_cache_mode",
            (high ^ low).cast_signed()
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// Grants up to `batch` ready sandboxes to waiting tickets and writes their dispatch steps.
    ///
    /// First come, first served within a tenant; round-robin between tenants; a tenant at its limit waits
    /// without blocking others. A resting investigation does not count: its machine is stopped. Sandboxes that others hold locked are passed over.
    #[tracing::instrument(name = "store.grant.batch", skip(self))]
    pub async fn grant(
        &mut self,
        pool: PoolId,
        batch: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<Granted>, StoreError> {
        let tickets = self.next_tickets(pool, batch).await?;
        #[cfg(feature = "plants")]
        let tickets = self.planted_tickets(pool, tickets).await?;
        if tickets.is_empty() {
            return Ok(Vec::new());
        }
        #[cfg(feature = "plants")]
        if planted(Plant::GrantWithoutRowLock) {
            return self.grant_unlocked(pool, &tickets, now).await;
        }
        let wanted = i64::try_from(tickets.len()).unwrap_or(batch);
        let sandboxes = self.take_ready(pool, wanted).await?;
        let tickets = &tickets[..sandboxes.len().min(tickets.len())];
        if tickets.is_empty() {
            return Ok(Vec::new());
        }
        self.pair(tickets, &sandboxes, now).await
    }

    /// The tickets whose turn it is, locked, in the order in which they are served.
    async fn next_tickets(&mut self, pool: PoolId, batch: i64) -> Result<Vec<Uuid>, StoreError> {
        let tickets = sqlx::query_scalar!(
            r#"with recursive waiting (tenant_id) as (
                   -- The tenants that wait, by skipping through the index: one probe a tenant.
                   (select tenant_id from tickets
                     where pool_id = $1 and state = 'waiting'
                     order by tenant_id limit 1)
                   union all
                   select (select t.tenant_id from tickets t
                            where t.pool_id = $1 and t.state = 'waiting' and t.tenant_id > w.tenant_id
                            order by t.tenant_id limit 1)
                     from waiting w
                    where w.tenant_id is not null
               ), room as (
                   select w.tenant_id,
                          t.max_running - (select count(*) from investigations i
                                            where i.tenant_id = w.tenant_id
                                              and i.state in ('claimed', 'starting', 'working')
                                          ) as free
                     from waiting w
                     join tenants t on t.id = w.tenant_id
               ), turns as materialized (
                   select next.place, next.turn
                     from room,
                          lateral (select place, row_number() over (order by place) as turn
                                     from (select place from tickets
                                            where pool_id = $1 and state = 'waiting'
                                              and tenant_id = room.tenant_id
                                            order by place
                                            limit least(greatest(room.free, 0), $2)) one) next
                    order by next.turn, next.place
                    limit $2
               )
               select t.investigation_id
                 from turns
                 join tickets t on t.place = turns.place
                where t.state = 'waiting'
                order by turns.turn, turns.place
                  for update of t skip locked"#,
            pool.as_uuid(),
            batch,
        )
        .fetch_all(&mut *self.conn)
        .await?;
        Ok(tickets)
    }

    #[cfg(feature = "plants")]
    async fn planted_tickets(
        &mut self,
        pool: PoolId,
        tickets: Vec<Uuid>,
    ) -> Result<Vec<Uuid>, StoreError> {
        if planted(Plant::NewestFirst) {
            return self.newest_instead(tickets).await;
        }
        let held_up = planted(Plant::LimitBlocksOthers) && self.first_is_at_its_limit(pool).await?;
        Ok(if held_up { Vec::new() } else { tickets })
    }

    async fn pair(
        &mut self,
        tickets: &[Uuid],
        sandboxes: &[Uuid],
        now: DateTime<Utc>,
    ) -> Result<Vec<Granted>, StoreError> {
        let rows = sqlx::query!(
            r#"with pairs as materialized (
                   select * from unnest($1::uuid[], $2::uuid[]) as p (investigation_id, sandbox_id)
               ), taken as (
                   update sandboxes s
                      set state = 'claimed', investigation_id = p.investigation_id,
                          epoch = s.epoch + 1, deadline_at = $4, version = s.version + 1
                     from pairs p
                    where s.id = p.sandbox_id and s.state = 'ready'
                   returning s.id, s.investigation_id, s.epoch
               ), given as (
                   update investigations i
                      set state = 'claimed', sandbox_id = taken.id, epoch = taken.epoch,
                          deadline_at = $5, granted_at = coalesce(i.granted_at, $3),
                          version = i.version + 1
                     from taken
                    where i.id = taken.investigation_id and i.state = 'queued'
                   returning i.id, i.tenant_id, i.sandbox_id, i.epoch, i.created_at
               ), served as (
                   update tickets t set state = 'granted', granted_at = $3
                     from given
                    where t.investigation_id = given.id
               ), noted as (
                   insert into investigation_events (investigation_id, at, kind, detail)
                   select id, $3, 'claimed', jsonb_build_object('epoch', epoch) from given
               ), steps as (
                   insert into outbox (kind, group_key, payload, created_at, due_at)
                   select 'dispatch', tenant_id::text,
                          jsonb_build_object('v', $6::int, 'step', jsonb_build_object(
                              'kind', 'dispatch',
                              'investigation', 'inv_' || replace(id::text, '-', ''),
                              'sandbox', 'sbx_' || replace(sandbox_id::text, '-', ''),
                              'epoch', epoch),
                              -- `Trace::of` the investigation.
                              'trace', '00-' || replace(id::text, '-', '') || '-'
                                  || right(replace(id::text, '-', ''), 16) || '-01'),
                          $3, $3
                     from given
               )
               select id, sandbox_id as "sandbox_id!", epoch as "epoch!", created_at from given"#,
            tickets,
            &sandboxes[..tickets.len()],
            now,
            now + CLAIMED_PATIENCE,
            now + CLAIM_PATIENCE,
            i32::from(VERSION),
        )
        .fetch_all(&mut *self.conn)
        .await?;
        if rows.len() != tickets.len() {
            // A ticket waited for an investigation that is not queued: the whole batch is put back.
            return Err(StoreError::Stale("a ticket of this batch".to_owned()));
        }
        Ok(rows
            .into_iter()
            .map(|row| Granted {
                investigation: row.id.into(),
                sandbox: row.sandbox_id.into(),
                epoch: Epoch(row.epoch),
                waited: now - row.created_at,
            })
            .collect())
    }
}
