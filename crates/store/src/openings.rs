//! Opening an investigation: its row, its ticket, its first event and the coordinator's wake, in one statement.
//!
//! One statement and not four, because each round trip keeps a connection, and with it the locks on tenant and
//! pool that foreign keys take, for longer (`docs/decisions/0017-an-investigation-is-opened-in-one-statement.md`).

use nightshift_domain::{Investigation, PoolId};
use nightshift_protocol::{Envelope, Step, Trace};

#[cfg(feature = "plants")]
use crate::plant::{Plant, planted};
use crate::{StoreError, Tx};

impl Tx {
    /// Stores a new investigation, puts it at the end of a pool's queue, notes that it was accepted and wakes
    /// the pool's coordinator. Returns its place in the queue.
    #[tracing::instrument(name = "store.investigation.open", skip_all, fields(investigation.id = %new.id))]
    pub async fn open_investigation(
        &mut self,
        new: &Investigation,
        pool: PoolId,
    ) -> Result<i64, StoreError> {
        let wake = Step::ClaimWake { pool };
        let group_key = pool.to_string();
        #[cfg(feature = "plants")]
        let wakes = !planted(Plant::VolatileWake) && !self.is_folded(wake, &group_key).await?;
        #[cfg(not(feature = "plants"))]
        let wakes = true;
        let place = sqlx::query_scalar!(
            r#"with opened as (
                   insert into investigations (id, tenant_id, incident_id, alert_id, state, deadline_at,
                                               created_at)
                   values ($1, $2, $3, $4, $5, $6, $7)
                   returning id
               ), queued as (
                   insert into tickets (investigation_id, tenant_id, pool_id, state, created_at)
                   select id, $2, $8, 'waiting', $7 from opened
                   returning place
               ), noted as (
                   insert into investigation_events (investigation_id, at, kind, detail)
                   select id, $7, 'accepted', jsonb_build_object('alert', $9::text, 'place', place)
                     from opened, queued
               ), woken as (
                   insert into outbox (kind, group_key, payload, created_at, due_at)
                   select $10, $11, $12, $7, $7 where $13::bool
               )
               select place from queued"#,
            new.id.as_uuid(),
            new.tenant.as_uuid(),
            new.incident.as_uuid(),
            new.alert.as_uuid(),
            new.state.name(),
            new.state.deadline_at(),
            new.created_at,
            pool.as_uuid(),
            new.alert.to_string(),
            wake.kind(),
            group_key,
            sqlx::types::Json(Envelope::new(wake, Some(Trace::of(new.id)))) as _,
            wakes,
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(place)
    }
}
