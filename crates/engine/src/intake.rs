//! Takes an authentic delivery in: alert, incident, investigation, ticket and outbox in one
//! transaction. Once this returns, the alert ends in a report or a stated reason.

use nightshift_domain::{
    AlertId, IncidentId, Investigation, InvestigationId,
    alert::{Alert, AlertStatus, Signal},
};
use nightshift_store::{
    Delivery, Disposition as Kept, Endpoint, Store, StoreError, Tx, Whose,
    plant::{Plant, VOLATILE_WAKE, planted},
};
use serde::Serialize;

use crate::{Clock, platform::announce};

/// A delivery whose sender was proved.
#[derive(Debug, Clone)]
pub struct Arrival<'a> {
    /// The sender's identity of the delivery; the same across its attempts.
    pub delivery_key: &'a str,
    /// Its bytes as they came.
    pub body: &'a [u8],
    /// What it says.
    pub signal: Signal,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// It opened an investigation.
    Opened,
    /// It belongs to an incident that is, or was, investigated already.
    Linked,
    /// The same delivery was taken in before.
    Duplicate,
    /// The sender says it is over.
    Resolved,
    /// The tenant has too many waiting: recorded and linked, but nobody investigates it.
    OverLimit,
}

/// A delivery that was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// What became of it.
    pub disposition: Taken,
    /// The alert; absent where the first attempt of a duplicate held none.
    pub alert: Option<AlertId>,
    /// The incident.
    pub incident: Option<IncidentId>,
    /// The incident's investigation, if it has one.
    pub investigation: Option<InvestigationId>,
}

/// Why an authentic delivery holds no signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetAside<'a> {
    /// A kind of event that we do nothing about.
    Ignored {
        /// Which kind.
        event: &'a str,
    },
    /// It cannot be read.
    Malformed {
        /// What is wrong with it.
        why: &'a str,
    },
}

/// Why a delivery could not be taken in. Nothing of it is kept then; the sender must try again.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// No pool exists that could serve it.
    #[error("no sandbox pool is set up")]
    NoPool,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes a signal in.
#[tracing::instrument(name = "engine.intake.accept", skip_all, fields(tenant.id = %endpoint.tenant))]
pub async fn accept(
    store: &Store,
    clock: &dyn Clock,
    endpoint: &Endpoint,
    arrival: Arrival<'_>,
) -> Result<Accepted, IntakeError> {
    let now = clock.now();
    let mut tx = store.begin_for(Whose::Tenant(endpoint.tenant)).await?;
    let delivery = Delivery {
        tenant: endpoint.tenant,
        endpoint: endpoint.id,
        key: arrival.delivery_key,
        disposition: Kept::Signal,
        detail: None,
        body: arrival.body,
    };
    let Some(delivery) = tx.keep_delivery(delivery, now).await? else {
        let first = tx.delivery(endpoint.id, arrival.delivery_key).await?;
        return Ok(Accepted {
            disposition: Taken::Duplicate,
            alert: first.as_ref().and_then(|first| first.alert),
            incident: first.as_ref().and_then(|first| first.incident),
            investigation: first.and_then(|first| first.investigation),
        });
    };
    let signal = arrival.signal;
    let incident = tx
        .touch_incident(endpoint.tenant, &endpoint.source, &signal, now)
        .await?;
    let alert = Alert {
        id: AlertId::generate(),
        tenant: endpoint.tenant,
        incident,
        source: endpoint.source.clone(),
        signal,
        received_at: now,
    };
    tx.add_alert(&alert, delivery).await?;
    let (disposition, investigation) = investigate(&mut tx, &alert).await?;
    tx.commit().await?;
    if disposition == Taken::Opened && planted(Plant::VolatileWake) {
        store.signals().send(VOLATILE_WAKE);
    }
    if disposition == Taken::Opened {
        announce(store);
    }
    let (alert, incident) = (Some(alert.id), Some(incident));
    Ok(Accepted {
        disposition,
        alert,
        incident,
        investigation,
    })
}

async fn investigate(
    tx: &mut Tx,
    alert: &Alert,
) -> Result<(Taken, Option<InvestigationId>), IntakeError> {
    let known = tx.investigation_of(alert.incident).await?;
    if alert.signal.status == AlertStatus::Resolved {
        return Ok((Taken::Resolved, known));
    }
    if known.is_some() {
        return Ok((Taken::Linked, known));
    }
    let limit = tx
        .tenant(alert.tenant)
        .await?
        .map_or(0, |tenant| i64::from(tenant.max_queued));
    if tx.waiting_of(alert.tenant).await? >= limit {
        return Ok((Taken::OverLimit, None));
    }
    let pool = tx.default_pool().await?.ok_or(IntakeError::NoPool)?;
    let now = alert.received_at;
    let id = InvestigationId::generate();
    let new = Investigation::open(id, alert.tenant, alert.incident, alert.id, now);
    tx.open_investigation(&new, pool).await?;
    Ok((Taken::Opened, Some(id)))
}

/// Keeps an authentic delivery that holds no signal, for inspection.
#[tracing::instrument(name = "engine.intake.set_aside", skip_all, fields(tenant.id = %endpoint.tenant))]
pub async fn set_aside(
    store: &Store,
    clock: &dyn Clock,
    endpoint: &Endpoint,
    delivery_key: &str,
    body: &[u8],
    why: SetAside<'_>,
) -> Result<(), IntakeError> {
    let (disposition, detail) = match why {
        SetAside::Ignored { event } => (Kept::Ignored, event),
        SetAside::Malformed { why } => (Kept::Malformed, why),
    };
    let mut tx = store.begin_for(Whose::Tenant(endpoint.tenant)).await?;
    let delivery = Delivery {
        tenant: endpoint.tenant,
        endpoint: endpoint.id,
        key: delivery_key,
        disposition,
        detail: Some(detail),
        body,
    };
    tx.keep_delivery(delivery, clock.now()).await?;
    Ok(tx.commit().await?)
}
