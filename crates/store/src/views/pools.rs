//! Pools as an operator sees them: what there is, and who waits.

use nightshift_domain::{PoolId, TenantId};

use super::Part;
use crate::{Store, StoreError};

/// A pool, its sandboxes by state, and the tickets that wait for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRow {
    /// Its identity.
    pub id: PoolId,
    /// Its name.
    pub name: String,
    /// Where its machines are.
    pub region: String,
    /// What they run, by digest.
    pub image: String,
    /// How many ready sandboxes it should hold.
    pub target_ready: i32,
    /// How many sandboxes it may hold in all.
    pub max_sandboxes: i32,
    /// Wanted, not begun.
    pub planned: i64,
    /// Being made.
    pub provisioning: i64,
    /// Waiting for an alert.
    pub ready: i64,
    /// Held by investigations.
    pub claimed: i64,
    /// Being destroyed.
    pub retiring: i64,
    /// Tickets that wait.
    pub waiting: i64,
}

impl Store {
    /// Pools, newest first. A tenant sees only its own claims and tickets in the counts.
    #[tracing::instrument(name = "store.view.pools", skip(self))]
    pub async fn view_pools(
        &self,
        tenant: Option<TenantId>,
        part: Part<PoolId>,
    ) -> Result<Vec<PoolRow>, StoreError> {
        let rows = sqlx::query!(
            r#"select p.id, p.name, p.region, p.image, p.target_ready, p.max_sandboxes,
                      c.planned as "planned!", c.provisioning as "provisioning!",
                      c.ready as "ready!", c.claimed as "claimed!", c.retiring as "retiring!",
                      (select count(*) from tickets t
                        where t.pool_id = p.id and t.state = 'waiting'
                          and ($1::uuid is null or t.tenant_id = $1)) as "waiting!"
                 from pools p
                cross join lateral (
                      select count(*) filter (where s.state = 'planned') as planned,
                             count(*) filter (where s.state = 'provisioning') as provisioning,
                             count(*) filter (where s.state = 'ready') as ready,
                             count(*) filter (where s.state = 'claimed') as claimed,
                             count(*) filter (where s.state = 'retiring') as retiring
                        from sandboxes s
                        left join investigations i on i.id = s.investigation_id
                       where s.pool_id = p.id and s.state <> 'gone'
                         and ($1::uuid is null or i.id is null or i.tenant_id = $1)) c
                where ($2::uuid is null or p.id < $2)
                order by p.id desc
                limit $3"#,
            tenant.map(TenantId::as_uuid),
            part.before.map(PoolId::as_uuid),
            part.limit,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| PoolRow {
                id: row.id.into(),
                name: row.name,
                region: row.region,
                image: row.image,
                target_ready: row.target_ready,
                max_sandboxes: row.max_sandboxes,
                planned: row.planned,
                provisioning: row.provisioning,
                ready: row.ready,
                claimed: row.claimed,
                retiring: row.retiring,
                waiting: row.waiting,
            })
            .collect())
    }
}
