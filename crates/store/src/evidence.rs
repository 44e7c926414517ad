//! The `evidence` table: tool results as the agent saw them.

use chrono::{DateTime, Utc};
use nightshift_domain::{Epoch, Evidence, EvidenceId, EvidenceKind, InvestigationId, TenantId};
use uuid::Uuid;

use crate::{CorruptRow, Store, StoreError, Tx, Whose};

/// A tool result to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvidence<'a> {
    /// Whose.
    pub tenant: TenantId,
    /// For which investigation.
    pub investigation: InvestigationId,
    /// From which start of its sandbox.
    pub epoch: Epoch,
    /// Which server recorded it.
    pub server: &'a str,
    /// How long the tool took, in milliseconds.
    pub took_ms: i64,
    /// The evidence itself.
    pub evidence: &'a Evidence,
}

impl Tx {
    /// Keeps a tool result.
    #[tracing::instrument(name = "store.evidence.add", skip_all, fields(evidence.id = %new.evidence.id))]
    pub async fn add_evidence(&mut self, new: &NewEvidence<'_>) -> Result<(), StoreError> {
        let evidence = new.evidence;
        sqlx::query!(
            "insert into evidence (id, tenant_id, investigation_id, epoch, server, kind, tool, arguments,
                                   content, digest, truncated, took_ms, recorded_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            evidence.id.as_uuid(),
            new.tenant.as_uuid(),
            new.investigation.as_uuid(),
            new.epoch.0,
            new.server,
            evidence.kind.as_str(),
            evidence.tool,
            evidence.arguments,
            evidence.content,
            evidence.digest,
            evidence.truncated,
            new.took_ms,
            evidence.recorded_at,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }
}

impl Store {
    /// Everything recorded for an investigation of a tenant, oldest first.
    #[tracing::instrument(name = "store.evidence.of", skip(self))]
    pub async fn evidence_of(
        &self,
        tenant: TenantId,
        investigation: InvestigationId,
    ) -> Result<Vec<Evidence>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "select id, kind, tool, arguments, content, digest, truncated, recorded_at
               from evidence
              where investigation_id = $1 and tenant_id = $2
              order by recorded_at, id",
            investigation.as_uuid(),
            tenant.as_uuid(),
        )
        .fetch_all(&mut *self.reading(Whose::Tenant(tenant)).await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(Evidence::try_from)
            .collect::<Result<_, _>>()?)
    }

    /// Whose evidence it is. For whoever does without `tenant-case`: asked of all rows that the role sees.
    pub async fn owner_of(
        &self,
        id: EvidenceId,
    ) -> Result<Option<(TenantId, InvestigationId)>, StoreError> {
        let owner: Option<(Uuid, Uuid)> =
            sqlx::query_as("select tenant_id, investigation_id from evidence where id = $1")
                .bind(id.as_uuid())
                .fetch_optional(&self.pool)
                .await?;
        Ok(owner.map(|(tenant, run)| (TenantId::from(tenant), InvestigationId::from(run))))
    }

    /// One piece of evidence of an investigation of a tenant.
    #[tracing::instrument(name = "store.evidence.get", skip(self))]
    pub async fn evidence(
        &self,
        tenant: TenantId,
        investigation: InvestigationId,
        id: EvidenceId,
    ) -> Result<Option<Evidence>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "select id, kind, tool, arguments, content, digest, truncated, recorded_at
               from evidence
              where id = $1 and investigation_id = $2 and tenant_id = $3",
            id.as_uuid(),
            investigation.as_uuid(),
            tenant.as_uuid(),
        )
        .fetch_optional(&mut *self.reading(Whose::Tenant(tenant)).await?)
        .await?;
        Ok(row.map(Evidence::try_from).transpose()?)
    }
}

struct Row {
    id: Uuid,
    kind: String,
    tool: String,
    arguments: serde_json::Value,
    content: serde_json::Value,
    digest: String,
    truncated: bool,
    recorded_at: DateTime<Utc>,
}

impl TryFrom<Row> for Evidence {
    type Error = CorruptRow;

    fn try_from(row: Row) -> Result<Self, CorruptRow> {
        let id = EvidenceId::from(row.id);
        let kind = EvidenceKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == row.kind)
            .ok_or_else(|| CorruptRow {
                table: "evidence",
                column: "kind",
                row: id.to_string(),
            })?;
        Ok(Self {
            id,
            kind,
            tool: row.tool,
            arguments: row.arguments,
            content: row.content,
            digest: row.digest,
            truncated: row.truncated,
            recorded_at: row.recorded_at,
        })
    }
}
