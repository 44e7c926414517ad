//! The `claim_counts` and `provision_times` tables: what a pool was asked for, and how fast it followed.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use nightshift_domain::{PoolId, bucket::Limits};

use crate::{StoreError, Tx};

/// Claims are counted together for so long.
const BUCKET: TimeDelta = TimeDelta::seconds(15);
/// How long counts and times are kept.
const KEPT: TimeDelta = TimeDelta::days(2);

impl Tx {
    /// Counts claims, and charges the region's bucket for the starts that follow from them: in one
    /// statement, for it belongs to every grant. The bucket's part is [`Bucket::charge`] in SQL.
    ///
    /// [`Bucket::charge`]: nightshift_domain::bucket::Bucket::charge
    #[tracing::instrument(name = "store.demand.note_claims", skip(self, limits))]
    pub async fn note_claims(
        &mut self,
        pool: PoolId,
        claims: i64,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if claims <= 0 {
            return Ok(());
        }
        sqlx::query!(
            "with counted as (
                 insert into claim_counts as c (pool_id, at, claims) values ($1, $2, $3)
                 on conflict (pool_id, at) do update set claims = c.claims + excluded.claims
             )
             update rates
                set tokens = greatest(-$4::float8, least($4, tokens
                        + least($5, greatest($6, slowed_to + $7 * greatest(0,
                            extract(epoch from $8 - slowed_at)::float8)))
                        * greatest(0, extract(epoch from $8 - filled_at)::float8)) - $3::bigint),
                    filled_at = greatest(filled_at, $8)
              where region = (select region from pools where id = $1)",
            pool.as_uuid(),
            bucket_of(now),
            claims,
            limits.burst,
            limits.fastest,
            limits.slowest,
            limits.regain,
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// Notes how long a sandbox took to get ready.
    #[tracing::instrument(name = "store.demand.note_provision", skip(self))]
    pub async fn note_provision(
        &mut self,
        pool: PoolId,
        took: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into provision_times (pool_id, took_ms, ready_at) values ($1, $2, $3)",
            pool.as_uuid(),
            took.num_milliseconds().max(0),
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// Forgets counts and times that no average looks at any more.
    pub async fn forget_demand(&mut self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let before = now - KEPT;
        sqlx::query!("delete from claim_counts where at < $1", before)
            .execute(&mut *self.conn)
            .await?;
        sqlx::query!(
            "delete from provision_times
              where id in (select id from provision_times where ready_at < $1 limit 1000)",
            before,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }
}

/// The beginning of the count that `now` belongs to.
fn bucket_of(now: DateTime<Utc>) -> DateTime<Utc> {
    now.duration_trunc(BUCKET).unwrap_or(now)
}

/// From when on counts belong to a window that ends at `now`: the whole count in which it began, so that a
/// storm is overestimated a little rather than seen late.
pub(crate) fn since(now: DateTime<Utc>, window: TimeDelta) -> DateTime<Utc> {
    bucket_of(now - window)
}
