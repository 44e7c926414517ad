//! Deliveries as an operator sees them: what came in, and what we made of it.

use chrono::{DateTime, Utc};
use nightshift_domain::{DeliveryId, EndpointId, TenantId};

use super::Part;
use crate::{Store, StoreError, Whose};

/// An authentic delivery, understood or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its identity.
    pub id: DeliveryId,
    /// Whose.
    pub tenant: TenantId,
    /// Where it came in.
    pub endpoint: EndpointId,
    /// Which kind of sender.
    pub source: String,
    /// The sender's identity of it.
    pub delivery_key: String,
    /// `signal`, `ignored` or `malformed`.
    pub disposition: String,
    /// Which event it was, or what is wrong with it.
    pub detail: Option<String>,
    /// Its body, as far as it is text; at most its first 8 KB.
    pub body: String,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

impl Store {
    /// Deliveries, newest first.
    #[tracing::instrument(name = "store.view.deliveries", skip(self))]
    pub async fn view_deliveries(
        &self,
        tenant: Option<TenantId>,
        disposition: Option<&str>,
        part: Part<DeliveryId>,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let rows = sqlx::query!(
            r#"select d.id, d.tenant_id, d.endpoint_id, e.source, d.delivery_key, d.disposition,
                      d.detail, substring(d.body from 1 for 8192) as "body!", d.received_at
                 from deliveries d
                 join endpoints e on e.id = d.endpoint_id
                where ($1::uuid is null or d.tenant_id = $1)
                  and ($2::text is null or d.disposition = $2)
                  and ($3::uuid is null or d.id < $3)
                order by d.id desc
                limit $4"#,
            tenant.map(TenantId::as_uuid),
            disposition,
            part.before.map(DeliveryId::as_uuid),
            part.limit,
        )
        .fetch_all(&mut *self.reading(Whose::of(tenant)).await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| DeliveryRow {
                id: row.id.into(),
                tenant: row.tenant_id.into(),
                endpoint: row.endpoint_id.into(),
                source: row.source,
                delivery_key: row.delivery_key,
                disposition: row.disposition,
                detail: row.detail,
                body: String::from_utf8_lossy(&row.body).into_owned(),
                received_at: row.received_at,
            })
            .collect())
    }
}
