//! Steps that wait for a person: parked, and sent on their way again.

use chrono::{DateTime, Utc};

use crate::{Store, StoreError, Tx};

/// A message that a queue gave up.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenUp {
    /// The queue's own identity of the message, unique among all queues.
    pub message_id: String,
    /// Which step it is, or the commonest of the queue where that cannot be read.
    pub kind: String,
    /// The queue's group: a pool, a tenant or a sandbox.
    pub group_key: String,
    /// The message: JSON, or a text where it is none.
    pub payload: serde_json::Value,
    /// How often it was received.
    pub received: i32,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// Where it comes from and what is known of its failure.
    pub error: String,
}

impl Tx {
    /// Parks a message as a row of the outbox; `false` if that was done before.
    #[tracing::instrument(name = "store.parked.park", skip_all, fields(message.id = letter.message_id))]
    pub async fn park_message(
        &mut self,
        letter: &GivenUp,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let first = sqlx::query!(
            "insert into parked_messages (message_id, parked_at) values ($1, $2)
             on conflict do nothing",
            letter.message_id,
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        if first.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query!(
            "insert into outbox
                    (kind, group_key, payload, created_at, due_at, attempts, dead_at, last_error)
             values ($1, $2, $3, $4, $4, $5, $6, $7)",
            letter.kind,
            letter.group_key,
            letter.payload,
            letter.sent_at,
            letter.received,
            now,
            letter.error,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(true)
    }

    /// Forgets which messages were parked before `before`, when no queue can show them again.
    pub async fn forget_parked(&mut self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let gone = sqlx::query!("delete from parked_messages where parked_at < $1", before)
            .execute(&mut *self.conn)
            .await?;
        Ok(gone.rows_affected())
    }

    /// Sends a parked step on its way again, due now and with all its attempts; `false` if none of that
    /// number is parked. Its last error stays to be seen until it is replaced.
    #[tracing::instrument(name = "store.parked.redrive", skip(self))]
    pub async fn redrive(&mut self, id: i64, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let again = sqlx::query!(
            "update outbox
                set dead_at = null, due_at = $2, attempts = 0, leased_until = null
              where id = $1 and dead_at is not null",
            id,
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(again.rows_affected() == 1)
    }
}

impl Store {
    /// How many steps are parked, by kind.
    #[tracing::instrument(name = "store.parked.count", skip(self))]
    pub async fn parked_steps(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let rows = sqlx::query!(
            r#"select kind, count(*) as "count!" from outbox
                where dead_at is not null group by kind order by kind"#,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.kind, row.count)).collect())
    }
}
