//! The `write_backs` table: reports that left us.

use chrono::{DateTime, Utc};
use nightshift_domain::{AlertId, EndpointId, Epoch, InvestigationId, Report, TenantId};
use sqlx::types::Json;

use crate::{Store, StoreError, Tx};

/// A report that somebody wants to be told of.
#[derive(Debug, Clone, PartialEq)]
pub struct OwedReport {
    /// Whose it is.
    pub tenant: TenantId,
    /// The start that submitted it.
    pub epoch: Epoch,
    /// What was found.
    pub report: Report,
    /// When it was settled.
    pub submitted_at: DateTime<Utc>,
    /// The alert that opened the investigation.
    pub alert: AlertId,
    /// That alert's title.
    pub title: String,
    /// The sender's own identity of what is wrong.
    pub source_key: String,
    /// Whom to tell.
    pub endpoint: EndpointId,
    /// Where.
    pub url: String,
    /// The endpoint's secrets, any of which its owner can check.
    pub secret_refs: Vec<String>,
}

/// How a report's way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteBackOutcome {
    /// The receiver took it.
    Delivered,
    /// The receiver says that nobody wants it any more.
    Unwanted,
}

impl WriteBackOutcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Unwanted => "unwanted",
        }
    }
}

impl Tx {
    /// Sets where an endpoint's owner wants to be told what was found; `None` for nowhere.
    pub async fn put_report_url(
        &mut self,
        path_token: &str,
        url: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "update endpoints set report_url = $2 where path_token = $1",
            path_token,
            url,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// Whether whoever sent the alert of an investigation wants to be told.
    pub async fn wants_report(&mut self, id: InvestigationId) -> Result<bool, StoreError> {
        let found = sqlx::query_scalar!(
            r#"select exists (
                   select 1
                     from investigations i
                     join alerts a on a.id = i.alert_id
                     join deliveries d on d.id = a.delivery_id
                     join endpoints e on e.id = d.endpoint_id
                    where i.id = $1 and e.report_url is not null) as "found!""#,
            id.as_uuid(),
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(found)
    }

    /// Notes how a report's way ended; `false` if that was known already.
    #[tracing::instrument(name = "store.write_back.settle", skip(self))]
    pub async fn settle_write_back(
        &mut self,
        id: InvestigationId,
        epoch: Epoch,
        endpoint: EndpointId,
        outcome: WriteBackOutcome,
        status: u16,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let written = sqlx::query!(
            "insert into write_backs
                    (investigation_id, epoch, endpoint_id, outcome, status, settled_at)
             values ($1, $2, $3, $4, $5, $6)
             on conflict do nothing",
            id.as_uuid(),
            epoch.0,
            endpoint.as_uuid(),
            outcome.name(),
            i32::from(status),
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(written.rows_affected() == 1)
    }
}

impl Store {
    /// The report of an investigation, unless nobody wants to be told or its way has ended.
    #[tracing::instrument(name = "store.write_back.owed", skip(self))]
    pub async fn owed_report(&self, id: InvestigationId) -> Result<Option<OwedReport>, StoreError> {
        let row = sqlx::query!(
            r#"select r.tenant_id, r.epoch, r.report as "report: Json<Report>", r.submitted_at,
                      a.id as alert_id, a.title, c.source_key,
                      e.id as endpoint_id, e.report_url as "report_url!", e.secret_refs
                 from reports r
                 join investigations i on i.id = r.investigation_id
                 join incidents c on c.id = i.incident_id
                 join alerts a on a.id = i.alert_id
                 join deliveries d on d.id = a.delivery_id
                 join endpoints e on e.id = d.endpoint_id
                where r.investigation_id = $1 and e.report_url is not null
                  and not exists (select 1 from write_backs w
                                   where w.investigation_id = $1 and w.epoch = r.epoch)"#,
            id.as_uuid(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| OwedReport {
            tenant: row.tenant_id.into(),
            epoch: Epoch(row.epoch),
            report: row.report.0,
            submitted_at: row.submitted_at,
            alert: row.alert_id.into(),
            title: row.title,
            source_key: row.source_key,
            endpoint: row.endpoint_id.into(),
            url: row.report_url,
            secret_refs: row.secret_refs,
        }))
    }
}
