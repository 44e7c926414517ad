//! The `rates` table: a token bucket per region, shared by all functions.
//!
//! Like a breaker's, a bucket's row is locked after every other row of its transaction.

use chrono::{DateTime, Utc};
use nightshift_domain::bucket::{Bucket, Limits};

use crate::{StoreError, Tx};

impl Tx {
    /// Reads and locks a region's bucket; a region that was never asked has a full one.
    #[tracing::instrument(name = "store.rate.get", skip(self, limits))]
    pub async fn bucket(
        &mut self,
        region: &str,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Result<Bucket, StoreError> {
        let full = Bucket::full(limits, now);
        sqlx::query!(
            "insert into rates (region, tokens, filled_at, slowed_to, slowed_at)
             values ($1, $2, $3, $4, $5)
             on conflict do nothing",
            region,
            full.tokens,
            full.filled_at,
            full.slowed_to,
            full.slowed_at,
        )
        .execute(&mut *self.conn)
        .await?;
        let bucket = sqlx::query_as!(
            Bucket,
            "select tokens, filled_at, slowed_to, slowed_at, paused_until
               from rates
              where region = $1
                for update",
            region,
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(bucket)
    }

    /// Writes a bucket that was read in this transaction and is still locked.
    #[tracing::instrument(name = "store.rate.set", skip(self, bucket))]
    pub async fn set_bucket(&mut self, region: &str, bucket: &Bucket) -> Result<(), StoreError> {
        sqlx::query!(
            "update rates
                set tokens = $2, filled_at = $3, slowed_to = $4, slowed_at = $5, paused_until = $6
              where region = $1",
            region,
            bucket.tokens,
            bucket.filled_at,
            bucket.slowed_to,
            bucket.slowed_at,
            bucket.paused_until,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }
}
