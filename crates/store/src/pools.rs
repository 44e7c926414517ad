//! The `pools` table.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::{
    PoolId,
    sizing::{Demand, LONG_WINDOW, SHORT_WINDOW},
};

use crate::{StoreError, Tx, demand::since};

/// Interchangeable sandboxes: one image in one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its identity.
    pub id: PoolId,
    /// Its name.
    pub name: String,
    /// Where its sandboxes are.
    pub region: String,
    /// The image by digest, `name@sha256:…`.
    pub image: String,
    /// How many should be ready even when nothing happens.
    pub target_ready: i32,
    /// How many may exist at once, whatever their state.
    pub max_sandboxes: i32,
}

/// How full a pool is and what it is asked for, counted in one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLevel {
    /// The generation that is made now.
    pub generation: i64,
    /// Ready to be granted, of every generation.
    pub ready: i64,
    /// Those of them of the current generation.
    pub ready_current: i64,
    /// On their way: planned or provisioning, of every generation.
    pub coming: i64,
    /// Those of them of the current generation.
    pub coming_current: i64,
    /// Being destroyed.
    pub retiring: i64,
    /// Everything that is not gone.
    pub live: i64,
    /// Tickets that wait.
    pub waiting: i64,
    /// Claims lately, and how long it takes to make more.
    pub demand: Demand,
    /// Since when more are ready than should be.
    pub surplus_since: Option<DateTime<Utc>>,
}

impl Tx {
    /// Reads a pool and locks it, so that two refills never count the same deficit.
    #[tracing::instrument(name = "store.pool.lock", skip(self))]
    pub async fn lock_pool(&mut self, id: PoolId) -> Result<Option<Pool>, StoreError> {
        let row = sqlx::query!(
            "select id, name, region, image, target_ready, max_sandboxes
               from pools
              where id = $1
                for no key update",
            id.as_uuid(),
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(row.map(|row| Pool {
            id: row.id.into(),
            name: row.name,
            region: row.region,
            image: row.image,
            target_ready: row.target_ready,
            max_sandboxes: row.max_sandboxes,
        }))
    }

    /// Reads a pool.
    pub async fn pool(&mut self, id: PoolId) -> Result<Option<Pool>, StoreError> {
        let row = sqlx::query!(
            "select id, name, region, image, target_ready, max_sandboxes from pools where id = $1",
            id.as_uuid(),
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(row.map(|row| Pool {
            id: row.id.into(),
            name: row.name,
            region: row.region,
            image: row.image,
            target_ready: row.target_ready,
            max_sandboxes: row.max_sandboxes,
        }))
    }

    /// Every pool.
    pub async fn pool_ids(&mut self) -> Result<Vec<PoolId>, StoreError> {
        let ids = sqlx::query_scalar!("select id from pools order by created_at, id")
            .fetch_all(&mut *self.conn)
            .await?;
        Ok(ids.into_iter().map(PoolId::from).collect())
    }

    /// The pool that new investigations wait for: the newest.
    pub async fn default_pool(&mut self) -> Result<Option<PoolId>, StoreError> {
        let id =
            sqlx::query_scalar!("select id from pools order by created_at desc, id desc limit 1")
                .fetch_optional(&mut *self.conn)
                .await?;
        Ok(id.map(PoolId::from))
    }

    /// Creates a pool, or changes the one with this name; returns its identity. Another image makes another
    /// generation, and an image it had before is gone back to; see [`Tx::generations`].
    pub async fn put_pool(
        &mut self,
        pool: &Pool,
        now: DateTime<Utc>,
    ) -> Result<PoolId, StoreError> {
        let id = sqlx::query_scalar!(
            "insert into pools (id, name, region, image, target_ready, max_sandboxes, created_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (name) do update
                set region = excluded.region, image = excluded.image,
                    target_ready = excluded.target_ready, max_sandboxes = excluded.max_sandboxes
             returning id",
            pool.id.as_uuid(),
            pool.name,
            pool.region,
            pool.image,
            pool.target_ready,
            pool.max_sandboxes,
            now,
        )
        .fetch_one(&mut *self.conn)
        .await?;
        self.point_at(id.into(), &pool.image, now).await?;
        Ok(id.into())
    }

    /// How full a pool is and what it was asked for until `now`.
    #[tracing::instrument(name = "store.pool.level", skip(self))]
    pub async fn pool_level(
        &mut self,
        id: PoolId,
        now: DateTime<Utc>,
    ) -> Result<PoolLevel, StoreError> {
        let row = sqlx::query!(
            r#"select p.generation, p.surplus_since,
                      s.ready as "ready!", s.ready_current as "ready_current!",
                      s.coming as "coming!", s.coming_current as "coming_current!",
                      s.retiring as "retiring!", s.live as "live!",
                      (select count(*) from tickets
                        where pool_id = $1 and state = 'waiting') as "waiting!",
                      (select coalesce(sum(claims), 0)::bigint from claim_counts
                        where pool_id = $1 and at >= $2) as "claims_short!",
                      (select coalesce(sum(claims), 0)::bigint from claim_counts
                        where pool_id = $1 and at >= $3) as "claims_long!",
                      (select percentile_disc(0.95) within group (order by took_ms)
                         from (select took_ms from provision_times
                                where pool_id = $1 order by id desc limit 200) lately
                      ) as provision_p95_ms
                 from pools p
                cross join lateral (
                      select count(*) filter (where state = 'ready') as ready,
                             count(*) filter (where state = 'ready'
                                                and generation = p.generation) as ready_current,
                             count(*) filter (where state in ('planned', 'provisioning')) as coming,
                             count(*) filter (where state in ('planned', 'provisioning')
                                                and generation = p.generation) as coming_current,
                             count(*) filter (where state = 'retiring') as retiring,
                             count(*) as live
                        from sandboxes
                       where pool_id = $1 and state <> 'gone') s
                where p.id = $1"#,
            id.as_uuid(),
            since(now, SHORT_WINDOW),
            since(now, LONG_WINDOW),
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(PoolLevel {
            generation: row.generation,
            ready: row.ready,
            ready_current: row.ready_current,
            coming: row.coming,
            coming_current: row.coming_current,
            retiring: row.retiring,
            live: row.live,
            waiting: row.waiting,
            demand: Demand {
                claims_short: row.claims_short,
                claims_long: row.claims_long,
                provision_p95: row.provision_p95_ms.map(TimeDelta::milliseconds),
            },
            surplus_since: row.surplus_since,
        })
    }

    /// Notes since when a pool has more ready than it should, or that it has not.
    #[tracing::instrument(name = "store.pool.surplus", skip(self))]
    pub async fn note_surplus(
        &mut self,
        id: PoolId,
        since: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "update pools set surplus_since = $2 where id = $1",
            id.as_uuid(),
            since,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }
}
