//! The `generations` table: the images a pool has had.

use chrono::{DateTime, Utc};
use nightshift_domain::{PoolId, SandboxId};

use crate::{StoreError, Tx};

/// One image of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number; grows with each new image.
    pub number: i64,
    /// The image by digest.
    pub image: String,
    /// Whether the pool makes it now.
    pub current: bool,
}

/// What a sandbox was made of, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The pool it was made for.
    pub pool: PoolId,
    /// Where it is.
    pub region: String,
    /// Its image by digest.
    pub image: String,
}

impl Tx {
    /// Points a pool at an image: at its generation if it had it before, else at a new one.
    pub(crate) async fn point_at(
        &mut self,
        pool: PoolId,
        image: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into generations (pool_id, number, image, created_at)
             select $1, coalesce(max(number), 0) + 1, $2, $3 from generations where pool_id = $1
             on conflict (pool_id, image) do nothing",
            pool.as_uuid(),
            image,
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        sqlx::query!(
            "update pools
                set generation = (select number from generations where pool_id = $1 and image = $2)
              where id = $1",
            pool.as_uuid(),
            image,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// A pool's generations, newest first.
    #[tracing::instrument(name = "store.generation.list", skip(self))]
    pub async fn generations(&mut self, pool: PoolId) -> Result<Vec<Generation>, StoreError> {
        let rows = sqlx::query_as!(
            Generation,
            r#"select g.number, g.image, g.number = p.generation as "current!"
                 from generations g
                 join pools p on p.id = g.pool_id
                where g.pool_id = $1
                order by g.number desc"#,
            pool.as_uuid(),
        )
        .fetch_all(&mut *self.conn)
        .await?;
        Ok(rows)
    }

    /// The newest generation of a pool but the current one whose image is known to work and is being made.
    #[tracing::instrument(name = "store.generation.trusted", skip(self))]
    pub async fn other_trusted_generation(
        &mut self,
        pool: PoolId,
    ) -> Result<Option<i64>, StoreError> {
        let number = sqlx::query_scalar!(
            "select max(g.number)
               from pools p
               join generations g on g.pool_id = p.id and g.number <> p.generation
               join breakers b on b.region = p.region and b.image = g.image
              where p.id = $1 and b.proven and b.state = 'closed'",
            pool.as_uuid(),
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(number)
    }

    /// What a sandbox was made of, whatever its pool makes now.
    #[tracing::instrument(name = "store.generation.of_sandbox", skip(self))]
    pub async fn origin(&mut self, sandbox: SandboxId) -> Result<Option<Origin>, StoreError> {
        let row = sqlx::query!(
            r#"select p.id, p.region, coalesce(g.image, p.image) as "image!"
                 from sandboxes s
                 join pools p on p.id = s.pool_id
                 left join generations g on g.pool_id = s.pool_id and g.number = s.generation
                where s.id = $1"#,
            sandbox.as_uuid(),
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(row.map(|row| Origin {
            pool: row.id.into(),
            region: row.region,
            image: row.image,
        }))
    }
}
