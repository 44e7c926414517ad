//! The `pools` table.

use chrono::{DateTime, Utc};
use nightshift_domain::PoolId;

use crate::{StoreError, Tx};

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
    /// How many should be ready.
    pub target_ready: i32,
    /// How many may exist at once, whatever their state.
    pub max_sandboxes: i32,
}

/// How full a pool is, counted in one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLevel {
    /// Ready to be granted.
    pub ready: i64,
    /// On their way: planned or provisioning.
    pub coming: i64,
    /// Everything that is not gone.
    pub live: i64,
    /// Tickets that wait.
    pub waiting: i64,
}

impl Tx {
    /// Reads a pool and locks it, so that two refills never count the same deficit.
    #[tracing::instrument(name = "store.pool.lock", skip(self))]
    pub async fn lock_pool(&mut self, id: PoolId) -> Result<Option<Pool>, StoreError> {
        let row = sqlx::query!(
            "select id, name, region, image, target_ready, max_sandboxes
               from pools
              where id = $1
                for update",
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

    /// Creates a pool, or changes the one with this name; returns its identity.
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
        Ok(id.into())
    }

    /// How full a pool is.
    #[tracing::instrument(name = "store.pool.level", skip(self))]
    pub async fn pool_level(&mut self, id: PoolId) -> Result<PoolLevel, StoreError> {
        let level = sqlx::query_as!(
            PoolLevel,
            r#"select count(*) filter (where state = 'ready') as "ready!",
                      count(*) filter (where state in ('planned', 'provisioning')) as "coming!",
                      count(*) as "live!",
                      (select count(*) from tickets
                        where pool_id = $1 and state = 'waiting') as "waiting!"
                 from sandboxes
                where pool_id = $1 and state <> 'gone'"#,
            id.as_uuid(),
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(level)
    }
}
