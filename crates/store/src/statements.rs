//! The `used_statements` table: each statement of the identity service is accepted once.

use chrono::{DateTime, Utc};

use crate::{StoreError, Tx};

impl Tx {
    /// Uses a statement up; `false` if it was used before.
    #[tracing::instrument(name = "store.statement.use", skip_all)]
    pub async fn use_statement(
        &mut self,
        jti: &str,
        expires_at: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let written = sqlx::query!(
            "insert into used_statements (jti, expires_at) values ($1, $2) on conflict do nothing",
            jti,
            expires_at,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(written.rows_affected() == 1)
    }

    /// Forgets statements that are no longer valid anyway.
    pub async fn forget_statements(&mut self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let gone = sqlx::query!("delete from used_statements where expires_at < $1", now)
            .execute(&mut *self.conn)
            .await?;
        Ok(gone.rows_affected())
    }
}
