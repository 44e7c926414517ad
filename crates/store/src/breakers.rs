//! The `breakers` table: whether an image is made in a region.
//!
//! A breaker's row is locked after every other row of its transaction, so that those who hold one never
//! wait for anybody.

use chrono::{DateTime, Utc};
use nightshift_domain::breaker::{Breaker, BreakerState};

use crate::{CorruptRow, StoreError, Tx};

/// A breaker as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBreaker {
    /// What it says.
    pub breaker: Breaker,
    region: String,
    image: String,
    version: i64,
}

struct Row {
    state: String,
    until: Option<DateTime<Utc>>,
    recent: String,
    proven: bool,
    trips: i32,
    version: i64,
}

impl Tx {
    /// Reads and locks the breaker of an image in a region.
    #[tracing::instrument(name = "store.breaker.get", skip(self))]
    pub async fn breaker(
        &mut self,
        region: &str,
        image: &str,
    ) -> Result<StoredBreaker, StoreError> {
        sqlx::query!(
            "insert into breakers (region, image, state, recent, proven, trips)
             values ($1, $2, 'closed', '', false, 0)
             on conflict do nothing",
            region,
            image,
        )
        .execute(&mut *self.conn)
        .await?;
        let row = sqlx::query_as!(
            Row,
            "select state, until, recent, proven, trips, version
               from breakers
              where region = $1 and image = $2
                for update",
            region,
            image,
        )
        .fetch_one(&mut *self.conn)
        .await?;
        let version = row.version;
        let breaker = row.read(region, image)?;
        Ok(StoredBreaker {
            breaker,
            region: region.to_owned(),
            image: image.to_owned(),
            version,
        })
    }

    /// Writes what became of a breaker, and why if it failed; fails with [`StoreError::Stale`] if it
    /// changed since it was read.
    #[tracing::instrument(name = "store.breaker.set", skip_all, fields(state = next.state.name()))]
    pub async fn set_breaker(
        &mut self,
        read: StoredBreaker,
        next: &Breaker,
        failure: Option<&str>,
    ) -> Result<(), StoreError> {
        if read.breaker == *next && failure.is_none() {
            return Ok(());
        }
        let mark = |ready: &bool| if *ready { '.' } else { 'x' };
        let recent: String = next.recent.iter().map(mark).collect();
        let written = sqlx::query!(
            "update breakers
                set state = $4, until = $5, recent = $6, proven = $7, trips = $8,
                    last_failure = coalesce($9, last_failure), version = version + 1
              where region = $1 and image = $2 and version = $3",
            read.region,
            read.image,
            read.version,
            next.state.name(),
            next.state.until(),
            recent,
            next.proven,
            next.trips,
            failure,
        )
        .execute(&mut *self.conn)
        .await?;
        if written.rows_affected() == 0 {
            return Err(StoreError::Stale(format!("the breaker of {}", read.image)));
        }
        Ok(())
    }
}

impl Row {
    fn read(self, region: &str, image: &str) -> Result<Breaker, CorruptRow> {
        let state = match (self.state.as_str(), self.until) {
            ("closed", None) => BreakerState::Closed,
            ("open", Some(until)) => BreakerState::Open { until },
            ("half_open", Some(until)) => BreakerState::HalfOpen { until },
            _ => {
                return Err(CorruptRow {
                    table: "breakers",
                    column: "state",
                    row: format!("{region}, {image}"),
                });
            }
        };
        Ok(Breaker {
            state,
            recent: self.recent.chars().map(|outcome| outcome == '.').collect(),
            proven: self.proven,
            trips: self.trips,
        })
    }
}
