//! Steps that failed too often and wait for a person.

use chrono::{DateTime, Utc};
use nightshift_domain::TenantId;

use super::Part;
use crate::{Store, StoreError};

/// A step that was parked.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterRow {
    /// Its outbox row.
    pub id: i64,
    /// Which step: `dispatch`, `provision`, …
    pub kind: String,
    /// The pool or tenant in whose queue it was.
    pub group_key: String,
    /// The step's JSON.
    pub payload: serde_json::Value,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it was given up.
    pub dead_at: DateTime<Utc>,
    /// What happened the last time.
    pub last_error: Option<String>,
}

impl Store {
    /// Parked steps, newest first. A tenant's are those in its own queue group.
    #[tracing::instrument(name = "store.view.dead_letters", skip(self))]
    pub async fn view_dead_letters(
        &self,
        tenant: Option<TenantId>,
        part: Part<i64>,
    ) -> Result<Vec<DeadLetterRow>, StoreError> {
        let rows = sqlx::query_as!(
            DeadLetterRow,
            r#"select id, kind, group_key, payload, attempts, created_at, dead_at as "dead_at!",
                      last_error
                 from outbox
                where dead_at is not null
                  and ($1::text is null or group_key = $1)
                  and ($2::bigint is null or id < $2)
                order by id desc
                limit $3"#,
            tenant.map(|tenant| tenant.to_string()),
            part.before,
            part.limit,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }
}
