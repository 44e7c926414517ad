//! The `sightings` table: what a list of the provider's does not agree with us about, and since when.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{StoreError, Tx};

/// In which way a list disagrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// The provider has an app that should not exist.
    Orphan,
    /// The provider has a machine that a sandbox is waiting to learn of.
    Unlearned,
    /// We hold a machine that the provider does not list.
    Vanished,
}

impl Sighting {
    const fn name(self) -> &'static str {
        match self {
            Self::Orphan => "orphan",
            Self::Unlearned => "unlearned",
            Self::Vanished => "vanished",
        }
    }
}

impl Tx {
    /// Notes that `apps` were seen so at `now`, and returns those that were seen so at least `grace` ago as
    /// well, longest first, at most `limit`.
    #[tracing::instrument(name = "store.sighting.note", skip(self, apps), fields(apps = apps.len()))]
    pub async fn sight(
        &mut self,
        kind: Sighting,
        apps: &[String],
        grace: TimeDelta,
        limit: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, StoreError> {
        if apps.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query!(
            "insert into sightings (kind, app, first_seen, last_seen)
             select $1, app, $3, $3 from unnest($2::text[]) as seen (app)
             order by app
             on conflict (kind, app) do update set last_seen = excluded.last_seen",
            kind.name(),
            apps,
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        let due = sqlx::query_scalar!(
            "select app from sightings
              where kind = $1 and app = any($2) and first_seen <= $3
              order by first_seen, app
              limit $4",
            kind.name(),
            apps,
            now - grace,
            limit,
        )
        .fetch_all(&mut *self.conn)
        .await?;
        Ok(due)
    }

    /// Forgets the sightings of one kind that were not renewed at `now`, except those of `unseen` apps,
    /// about which nothing was learnt.
    #[tracing::instrument(name = "store.sighting.forget", skip(self, unseen))]
    pub async fn forget_sightings(
        &mut self,
        kind: Sighting,
        unseen: &[String],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "delete from sightings where kind = $1 and last_seen < $2 and app <> all($3)",
            kind.name(),
            now,
            unseen,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// Forgets one sighting: it was settled, or turned out to be none.
    pub async fn forget_sighting(&mut self, kind: Sighting, app: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "delete from sightings where kind = $1 and app = $2",
            kind.name(),
            app
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// Which installation this is; every machine carries it.
    pub async fn installation(&mut self) -> Result<String, StoreError> {
        let id = sqlx::query_scalar!("select id from installation")
            .fetch_one(&mut *self.conn)
            .await?;
        Ok(id.to_string())
    }
}
