//! The `tickets` table: places in the claim queue.

use chrono::{DateTime, Utc};
use nightshift_domain::{InvestigationId, PoolId, TenantId};
use nightshift_protocol::Step;

#[cfg(feature = "plants")]
use crate::plant::{Plant, planted};
use crate::{StoreError, Tx};

impl Tx {
    /// How many tickets of a tenant wait.
    pub async fn waiting_of(&mut self, tenant: TenantId) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar!(
            r#"select count(*) as "count!" from tickets where tenant_id = $1 and state = 'waiting'"#,
            tenant.as_uuid(),
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(count)
    }

    /// How many tickets of a pool wait.
    pub async fn waiting_in(&mut self, pool: PoolId) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar!(
            r#"select count(*) as "count!" from tickets where pool_id = $1 and state = 'waiting'"#,
            pool.as_uuid(),
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(count)
    }

    /// Returns a granted ticket to the queue, at its old place; tells which pool it waits for.
    #[tracing::instrument(name = "store.ticket.return", skip(self))]
    pub async fn return_ticket(
        &mut self,
        investigation: InvestigationId,
    ) -> Result<Option<PoolId>, StoreError> {
        #[cfg(feature = "plants")]
        if planted(Plant::TicketLosesPlace) {
            return self.return_ticket_to_the_end(investigation).await;
        }
        let pool = sqlx::query_scalar!(
            "update tickets set state = 'waiting', granted_at = null
              where investigation_id = $1 and state = 'granted'
             returning pool_id",
            investigation.as_uuid(),
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(pool.map(PoolId::from))
    }

    /// Takes an investigation's ticket out of the queue.
    #[tracing::instrument(name = "store.ticket.cancel", skip(self))]
    pub async fn cancel_ticket(
        &mut self,
        investigation: InvestigationId,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "update tickets set state = 'cancelled'
              where investigation_id = $1 and state = 'waiting'",
            investigation.as_uuid(),
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// Wakes the coordinator of the pool that an investigation got its sandbox from, because its tenant may
    /// hold one more from here on. Even if nobody seems to wait: a ticket that is being added at this moment
    /// cannot be seen, and its own wake may be used up before there is room.
    pub async fn wake_coordinator(
        &mut self,
        investigation: InvestigationId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let Some(pool) = self.pool_of(investigation).await? else {
            return Ok(());
        };
        self.enqueue(Step::ClaimWake { pool }, &pool.to_string(), now)
            .await
    }

    /// The pool that an investigation waits for or got its sandbox from.
    pub async fn pool_of(
        &mut self,
        investigation: InvestigationId,
    ) -> Result<Option<PoolId>, StoreError> {
        let pool = sqlx::query_scalar!(
            "select pool_id from tickets where investigation_id = $1",
            investigation.as_uuid(),
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(pool.map(PoolId::from))
    }
}
