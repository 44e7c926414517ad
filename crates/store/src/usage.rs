//! The `tool_calls` and `model_uses` tables: what a run did besides leaving evidence.

use chrono::{DateTime, Utc};
use nightshift_domain::{Epoch, InvestigationId};

use crate::{StoreError, Tx};

/// A tool call that left no evidence.
#[derive(Debug, Clone, Copy)]
pub struct CallRow<'a> {
    /// Which server was called.
    pub server: &'a str,
    /// `server.tool`.
    pub tool: &'a str,
    /// The arguments.
    pub arguments: &'a serde_json::Value,
    /// `refused`, `failed` or `answered`.
    pub outcome: &'a str,
    /// Why.
    pub detail: Option<&'a str>,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
}

/// One request to the model.
#[derive(Debug, Clone, Copy)]
pub struct ModelUseRow<'a> {
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// Who answered.
    pub provider: &'a str,
    /// Which model.
    pub model: &'a str,
    /// Tokens read.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
}

impl Tx {
    /// Notes a tool call that left no evidence.
    pub async fn add_call(
        &mut self,
        investigation: InvestigationId,
        epoch: Epoch,
        call: &CallRow<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into tool_calls (investigation_id, epoch, server, tool, arguments, outcome, detail,
                                     took_ms, recorded_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            investigation.as_uuid(),
            epoch.0,
            call.server,
            call.tool,
            call.arguments,
            call.outcome,
            call.detail,
            call.took_ms,
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// Notes a request to the model; tells whether it is the first one of this epoch.
    pub async fn add_model_use(
        &mut self,
        investigation: InvestigationId,
        epoch: Epoch,
        used: &ModelUseRow<'_>,
    ) -> Result<bool, StoreError> {
        let first = sqlx::query_scalar!(
            r#"with earlier as (
                   select exists (select 1 from model_uses
                                   where investigation_id = $1 and epoch = $2) as yes
               ), added as (
                   insert into model_uses (investigation_id, epoch, at, provider, model,
                                           input_tokens, output_tokens)
                   values ($1, $2, $3, $4, $5, $6, $7)
               )
               select not yes as "first!" from earlier"#,
            investigation.as_uuid(),
            epoch.0,
            used.at,
            used.provider,
            used.model,
            used.input_tokens,
            used.output_tokens,
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(first)
    }
}
