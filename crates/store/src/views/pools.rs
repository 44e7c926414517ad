//! Pools as an operator sees them: what there is, and who waits.

use chrono::{DateTime, Utc};
use nightshift_domain::{PoolId, TenantId, sizing::Sizing};

use super::Part;
use crate::{Store, StoreError, Whose};

/// What a pool makes at the moment, how much of it, and what holds it up.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSupply {
    /// How many should be ready, and why.
    pub sizing: Sizing,
    /// The number of the image it makes.
    pub generation: i64,
    /// Ready sandboxes of images it made before.
    pub ready_of_others: i64,
    /// The breakers of its images that are known.
    pub breakers: Vec<BreakerRow>,
    /// Until when the provider asked to be left alone, if it did.
    pub paused_until: Option<DateTime<Utc>>,
}

/// Whether an image is made in a pool's region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerRow {
    /// The generation whose image it is.
    pub generation: i64,
    /// `closed`, `open` or `half_open`.
    pub state: String,
    /// When it changes by itself.
    pub until: Option<DateTime<Utc>>,
    /// The last outcomes, oldest first: `.` got ready, `x` failed.
    pub recent: String,
    /// Why the last one failed.
    pub last_failure: Option<String>,
}

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
    /// How many ready sandboxes it should hold even when nothing happens.
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
        .fetch_all(&mut *self.reading(Whose::of(tenant)).await?)
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

    /// What a pool makes at the moment and why; `None` if there is no such pool.
    #[tracing::instrument(name = "store.view.pool_supply", skip(self))]
    pub async fn view_supply(
        &self,
        id: PoolId,
        now: DateTime<Utc>,
    ) -> Result<Option<PoolSupply>, StoreError> {
        let mut tx = self.begin_for(Whose::Everybody).await?;
        let Some(pool) = tx.pool(id).await? else {
            return Ok(None);
        };
        let level = tx.pool_level(id, now).await?;
        let breakers = sqlx::query_as!(
            BreakerRow,
            "select g.number as generation, b.state, b.until, b.recent, b.last_failure
               from generations g
               join breakers b on b.image = g.image and b.region = $2
              where g.pool_id = $1
              order by g.number desc
              limit 10",
            id.as_uuid(),
            pool.region,
        )
        .fetch_all(&mut *tx.conn)
        .await?;
        let paused_until = sqlx::query_scalar!(
            "select paused_until from rates where region = $1 and paused_until > $2",
            pool.region,
            now,
        )
        .fetch_optional(&mut *tx.conn)
        .await?;
        Ok(Some(PoolSupply {
            sizing: Sizing::of(pool.target_ready.into(), level.demand),
            generation: level.generation,
            ready_of_others: level.ready - level.ready_current,
            breakers,
            paused_until: paused_until.flatten(),
        }))
    }
}
