//! Tells whoever sent the alert what was found.

use nightshift_domain::InvestigationId;
use nightshift_store::{OwedReport, StoreError, WriteBackOutcome};
use serde_json::json;

use crate::{
    Classify, Disposition, Platform,
    courier::{CourierError, Parcel, Receipt},
};

/// Why a report was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum WriteBackError {
    /// It is not delivered yet.
    #[error("the report was not delivered")]
    Courier(#[from] CourierError),
    /// It cannot be written down.
    #[error("the report cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classify for WriteBackError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Courier(_) | Self::Unwritable(_) | Self::Store(_) => Disposition::Retry,
        }
    }
}

/// Delivers the report of an investigation. Once the receiver answered for good a repeat does nothing; a
/// crash between that answer and our note of it delivers the same parcel again, with the same id.
#[tracing::instrument(name = "engine.write_back", skip_all, fields(investigation.id = %investigation))]
pub async fn write_back(
    platform: &Platform,
    investigation: InvestigationId,
) -> Result<(), WriteBackError> {
    let Some(owed) = platform.store.owed_report(investigation).await? else {
        return Ok(());
    };
    let parcel = Parcel {
        url: owed.url.clone(),
        secret_refs: owed.secret_refs.clone(),
        id: format!("{investigation}-{}", owed.epoch),
        body: body(investigation, &owed)?,
        at: platform.clock.now().timestamp(),
    };
    let receipt = platform.courier.deliver(&parcel).await?;
    Ok(note(platform, investigation, &owed, receipt).await?)
}

fn body(investigation: InvestigationId, owed: &OwedReport) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&json!({
        "type": "report",
        "investigation": investigation,
        "epoch": owed.epoch,
        "tenant": owed.tenant,
        "alert": owed.alert,
        "title": owed.title,
        "source_key": owed.source_key,
        "submitted_at": owed.submitted_at,
        "report": owed.report,
    }))
}

async fn note(
    platform: &Platform,
    investigation: InvestigationId,
    owed: &OwedReport,
    receipt: Receipt,
) -> Result<(), StoreError> {
    let now = platform.clock.now();
    let (outcome, status, event) = match receipt {
        Receipt::Taken(status) => (WriteBackOutcome::Delivered, status, "report_delivered"),
        Receipt::Unwanted => (WriteBackOutcome::Unwanted, 410, "report_unwanted"),
    };
    let mut tx = platform.store.begin().await?;
    let first = tx
        .settle_write_back(
            investigation,
            owed.epoch,
            owed.endpoint,
            outcome,
            status,
            now,
        )
        .await?;
    if !first {
        return Ok(());
    }
    let detail = json!({"epoch": owed.epoch, "endpoint": owed.endpoint, "status": status});
    tx.add_event(investigation, event, &detail, now).await?;
    tx.commit().await?;
    platform.announce();
    tracing::info!(status, event, "Told the sender of an alert what was found");
    Ok(())
}
