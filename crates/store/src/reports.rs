//! The `reports` table: settled reports.

use chrono::{DateTime, Utc};
use nightshift_domain::{Epoch, InvestigationId, Report, TenantId};
use sqlx::types::Json;

use crate::{Store, StoreError, Tx, Whose};

/// A settled report and when it came.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReport {
    /// The start that submitted it.
    pub epoch: Epoch,
    /// What was found.
    pub report: Report,
    /// When it was settled.
    pub submitted_at: DateTime<Utc>,
}

impl Tx {
    /// Stores a report; a later epoch replaces the report of an earlier one, never the other way round.
    #[tracing::instrument(name = "store.report.save", skip(self, report))]
    pub async fn save_report(
        &mut self,
        tenant: TenantId,
        investigation: InvestigationId,
        epoch: Epoch,
        report: &Report,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let written = sqlx::query!(
            "insert into reports (investigation_id, tenant_id, epoch, report, submitted_at)
             values ($1, $2, $3, $4, $5)
             on conflict (investigation_id) do update
                set epoch = excluded.epoch, report = excluded.report,
                    submitted_at = excluded.submitted_at
              where reports.epoch < excluded.epoch",
            investigation.as_uuid(),
            tenant.as_uuid(),
            epoch.0,
            Json(report) as _,
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        if written.rows_affected() == 0 {
            return Err(StoreError::Stale(format!("the report of {investigation}")));
        }
        Ok(())
    }
}

impl Tx {
    /// Whether an investigation has a report.
    pub async fn has_report(&mut self, id: InvestigationId) -> Result<bool, StoreError> {
        let found = sqlx::query_scalar!(
            r#"select exists (select 1 from reports where investigation_id = $1) as "found!""#,
            id.as_uuid(),
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(found)
    }
}

impl Store {
    /// The report of an investigation of a tenant.
    #[tracing::instrument(name = "store.report.of", skip(self))]
    pub async fn report_of(
        &self,
        tenant: TenantId,
        investigation: InvestigationId,
    ) -> Result<Option<StoredReport>, StoreError> {
        let row = sqlx::query!(
            r#"select epoch, report as "report: Json<Report>", submitted_at
                 from reports
                where investigation_id = $1 and tenant_id = $2"#,
            investigation.as_uuid(),
            tenant.as_uuid(),
        )
        .fetch_optional(&mut *self.reading(Whose::Tenant(tenant)).await?)
        .await?;
        Ok(row.map(|row| StoredReport {
            epoch: Epoch(row.epoch),
            report: row.report.0,
            submitted_at: row.submitted_at,
        }))
    }
}
