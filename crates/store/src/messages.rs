//! The `messages` table: questions from people and the agent's answers.

use chrono::{DateTime, Utc};
use nightshift_domain::{InvestigationId, MessageId, TenantId};

use crate::{Store, StoreError, Tx, Whose};

/// A question and, once there is one, its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its identity.
    pub id: MessageId,
    /// Who asked.
    pub author: String,
    /// What.
    pub body: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The agent's answer.
    pub answer: Option<String>,
}

impl Tx {
    /// Stores a question.
    #[tracing::instrument(name = "store.message.add", skip(self, author, body))]
    pub async fn add_message(
        &mut self,
        tenant: TenantId,
        investigation: InvestigationId,
        author: &str,
        body: &str,
        now: DateTime<Utc>,
    ) -> Result<MessageId, StoreError> {
        let id = MessageId::generate();
        sqlx::query!(
            "insert into messages (id, tenant_id, investigation_id, author, body, at)
             values ($1, $2, $3, $4, $5, $6)",
            id.as_uuid(),
            tenant.as_uuid(),
            investigation.as_uuid(),
            author,
            body,
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(id)
    }

    /// Stores the answer to a question of an investigation; `false` if there is no such question or it
    /// was answered before.
    #[tracing::instrument(name = "store.message.answer", skip(self, answer))]
    pub async fn answer_message(
        &mut self,
        investigation: InvestigationId,
        id: MessageId,
        answer: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let written = sqlx::query!(
            "update messages set answer = $3, answered_at = $4
              where id = $1 and investigation_id = $2 and answered_at is null",
            id.as_uuid(),
            investigation.as_uuid(),
            answer,
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(written.rows_affected() == 1)
    }

    /// How many questions of an investigation wait for an answer.
    pub async fn unanswered(&mut self, investigation: InvestigationId) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar!(
            r#"select count(*) as "count!" from messages
                where investigation_id = $1 and answered_at is null"#,
            investigation.as_uuid(),
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(count)
    }
}

impl Store {
    /// The questions and answers of an investigation of a tenant, oldest first.
    #[tracing::instrument(name = "store.message.of", skip(self))]
    pub async fn messages_of(
        &self,
        tenant: TenantId,
        investigation: InvestigationId,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let rows = sqlx::query!(
            "select id, author, body, at, answer
               from messages
              where investigation_id = $1 and tenant_id = $2
              order by at, id",
            investigation.as_uuid(),
            tenant.as_uuid(),
        )
        .fetch_all(&mut *self.reading(Whose::Tenant(tenant)).await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| StoredMessage {
                id: row.id.into(),
                author: row.author,
                body: row.body,
                at: row.at,
                answer: row.answer,
            })
            .collect())
    }
}
