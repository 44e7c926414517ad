//! The `tenants`, `endpoints`, `connections` and `runbooks` tables.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use nightshift_domain::{EndpointId, TenantId};
use uuid::Uuid;

use crate::{Store, StoreError, Tx, Whose};

/// One customer and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its identity.
    pub id: TenantId,
    /// Its name in addresses.
    pub slug: String,
    /// Sandboxes it may hold at once.
    pub max_running: i32,
    /// Tickets it may have waiting at once.
    pub max_queued: i32,
}

/// A webhook address.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Its identity.
    pub id: EndpointId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Which kind of sender: `pagerduty`, `generic`, …
    pub source: String,
    /// The public part of its address.
    pub path_token: String,
    /// Where the secrets are that prove the sender; several during a rotation.
    pub secret_refs: Vec<String>,
    /// The generic source's JSON pointers.
    pub mapping: Option<serde_json::Value>,
}

/// How a tenant wants an alert investigated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunbookText {
    /// Its name.
    pub name: String,
    /// Its text, in Markdown.
    pub body: String,
}

impl Store {
    /// The endpoint that an address names.
    #[tracing::instrument(name = "store.endpoint.find", skip_all)]
    pub async fn endpoint(&self, path_token: &str) -> Result<Option<Endpoint>, StoreError> {
        let row = sqlx::query!(
            "select id, tenant_id, source, path_token, secret_refs, mapping
               from endpoints
              where path_token = $1",
            path_token,
        )
        .fetch_optional(&mut *self.reading(Whose::Address(path_token)).await?)
        .await?;
        Ok(row.map(|row| Endpoint {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            source: row.source,
            path_token: row.path_token,
            secret_refs: row.secret_refs,
            mapping: row.mapping,
        }))
    }

    /// The backends that a tenant has connected, by server.
    #[tracing::instrument(name = "store.connections.of", skip(self))]
    pub async fn connections(
        &self,
        tenant: TenantId,
    ) -> Result<BTreeMap<String, serde_json::Value>, StoreError> {
        let rows = sqlx::query!(
            "select server, config from connections where tenant_id = $1",
            tenant.as_uuid(),
        )
        .fetch_all(&mut *self.reading(Whose::Tenant(tenant)).await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.server, row.config))
            .collect())
    }

    /// The runbook for a service of a tenant, or else the tenant's default.
    #[tracing::instrument(name = "store.runbook.find", skip(self))]
    pub async fn runbook(
        &self,
        tenant: TenantId,
        service: Option<&str>,
    ) -> Result<Option<RunbookText>, StoreError> {
        let runbook = sqlx::query_as!(
            RunbookText,
            "select name, body
               from runbooks
              where tenant_id = $1 and (service = $2 or service is null)
              order by service is null
              limit 1",
            tenant.as_uuid(),
            service,
        )
        .fetch_optional(&mut *self.reading(Whose::Tenant(tenant)).await?)
        .await?;
        Ok(runbook)
    }
}

impl Tx {
    /// Reads a tenant.
    pub async fn tenant(&mut self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let row = sqlx::query!(
            "select id, slug, max_running, max_queued from tenants where id = $1",
            id.as_uuid(),
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(row.map(|row| Tenant {
            id: row.id.into(),
            slug: row.slug,
            max_running: row.max_running,
            max_queued: row.max_queued,
        }))
    }

    /// Creates a tenant, or changes the limits of the one with this slug; returns its identity.
    pub async fn put_tenant(
        &mut self,
        slug: &str,
        max_running: i32,
        max_queued: i32,
        now: DateTime<Utc>,
    ) -> Result<TenantId, StoreError> {
        let id = sqlx::query_scalar!(
            "insert into tenants (id, slug, max_running, max_queued, created_at)
             values ($1, $2, $3, $4, $5)
             on conflict (slug) do update
                set max_running = excluded.max_running, max_queued = excluded.max_queued
             returning id",
            TenantId::generate().as_uuid(),
            slug,
            max_running,
            max_queued,
            now,
        )
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(id.into())
    }

    /// Creates an endpoint, or changes the one with this address.
    pub async fn put_endpoint(
        &mut self,
        endpoint: &Endpoint,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into endpoints (id, tenant_id, source, path_token, secret_refs, mapping, created_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (path_token) do update
                set secret_refs = excluded.secret_refs, mapping = excluded.mapping",
            endpoint.id.as_uuid(),
            endpoint.tenant.as_uuid(),
            endpoint.source,
            endpoint.path_token,
            &endpoint.secret_refs,
            endpoint.mapping,
            now,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// Connects a backend to a server for a tenant.
    pub async fn put_connection(
        &mut self,
        tenant: TenantId,
        server: &str,
        config: &serde_json::Value,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into connections (tenant_id, server, config)
             values ($1, $2, $3)
             on conflict (tenant_id, server) do update set config = excluded.config",
            tenant.as_uuid(),
            server,
            config,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    /// The credential that a tenant's connection to a server names, if there is one and it names one.
    pub async fn connected_credential(
        &mut self,
        tenant: TenantId,
        server: &str,
    ) -> Result<Option<String>, StoreError> {
        let row = sqlx::query!(
            "select credential from connections where tenant_id = $1 and server = $2",
            tenant.as_uuid(),
            server,
        )
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(row.and_then(|row| row.credential))
    }

    /// Stores a runbook for a service of a tenant, or the tenant's default.
    pub async fn put_runbook(
        &mut self,
        tenant: TenantId,
        service: Option<&str>,
        runbook: &RunbookText,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into runbooks (id, tenant_id, service, name, body)
             values ($1, $2, $3, $4, $5)
             on conflict (tenant_id, (coalesce(service, ''))) do update
                set name = excluded.name, body = excluded.body",
            Uuid::now_v7(),
            tenant.as_uuid(),
            service,
            runbook.name,
            runbook.body,
        )
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }
}
