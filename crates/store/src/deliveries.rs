//! The `deliveries` table: every authentic delivery, understood or not.

use chrono::{DateTime, Utc};
use nightshift_domain::{AlertId, DeliveryId, EndpointId, IncidentId, InvestigationId, TenantId};

use crate::{StoreError, Tx};

/// What we made of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It holds a signal.
    Signal,
    /// It is of a kind that we do nothing about.
    Ignored,
    /// We could not read it; kept for inspection.
    Malformed,
}

impl Disposition {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Ignored => "ignored",
            Self::Malformed => "malformed",
        }
    }
}

/// A delivery to keep.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Whose.
    pub tenant: TenantId,
    /// Where it came in.
    pub endpoint: EndpointId,
    /// The sender's identity of the delivery; the same across its attempts.
    pub key: &'a str,
    /// What we made of it.
    pub disposition: Disposition,
    /// Which event it was, or what is wrong with it.
    pub detail: Option<&'a str>,
    /// Its bytes as they came.
    pub body: &'a [u8],
}

/// What an earlier attempt of the same delivery led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDelivery {
    /// Its alert, where it held a signal.
    pub alert: Option<AlertId>,
    /// The incident of that alert.
    pub incident: Option<IncidentId>,
    /// The newest investigation of that incident.
    pub investigation: Option<InvestigationId>,
}

impl Tx {
    /// Keeps a delivery; `None` if an earlier attempt of it is already kept. Waits for an attempt that is
    /// being stored at this moment.
    #[tracing::instrument(name = "store.delivery.keep", skip_all)]
    pub async fn keep_delivery(
        &mut self,
        delivery: Delivery<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<DeliveryId>, StoreError> {
        let id = sqlx::query_scalar!(
            "insert into deliveries (id, tenant_id, endpoint_id, delivery_key, disposition, detail, body, received_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (endpoint_id, delivery_key) do nothing
             returning id",
            DeliveryId::generate().as_uuid(),
            delivery.tenant.as_uuid(),
            delivery.endpoint.as_uuid(),
            delivery.key,
            delivery.disposition.as_str(),
            delivery.detail,
            delivery.body,
            now,
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(id.map(DeliveryId::from))
    }

    /// What the first attempt of a delivery led to.
    #[tracing::instrument(name = "store.delivery.find", skip_all)]
    pub async fn delivery(
        &mut self,
        endpoint: EndpointId,
        key: &str,
    ) -> Result<Option<StoredDelivery>, StoreError> {
        let row = sqlx::query!(
            r#"select a.id as "alert?", a.incident_id as "incident?",
                      (select i.id from investigations i
                        where i.incident_id = a.incident_id
                        order by i.created_at desc limit 1) as investigation
                 from deliveries d
                 left join alerts a on a.delivery_id = d.id
                where d.endpoint_id = $1 and d.delivery_key = $2"#,
            endpoint.as_uuid(),
            key,
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(row.map(|row| StoredDelivery {
            alert: row.alert.map(AlertId::from),
            incident: row.incident.map(IncidentId::from),
            investigation: row.investigation.map(InvestigationId::from),
        }))
    }
}
