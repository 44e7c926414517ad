//! What must be there before anything can be measured, written in bulk.

use anyhow::Result;
use chrono::{DateTime, Utc};
use nightshift_domain::{AlertId, IncidentId, PoolId, TenantId};
use nightshift_engine::{Clock, SystemClock};
use nightshift_store::{Pool, Store};
use sqlx::PgPool;
use uuid::Uuid;

/// An alert that waits to be investigated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) tenant: TenantId,
    pub(crate) incident: IncidentId,
    pub(crate) alert: AlertId,
}

/// Tenants with one endpoint each, and one pool.
#[derive(Debug, Clone)]
pub(crate) struct Cast {
    pub(crate) tenants: Vec<TenantId>,
    pub(crate) endpoints: Vec<Uuid>,
    pub(crate) pool: PoolId,
}

/// `n` tenants without limits worth mentioning, and a pool that wants nothing by itself.
pub(crate) async fn cast(admin: &PgPool, n: usize) -> Result<Cast> {
    let store = Store::new(admin.clone());
    let now = SystemClock.now();
    let mut tx = store.begin().await?;
    let mut tenants = Vec::new();
    for number in 0..n {
        let slug = format!("tenant-{number}");
        tenants.push(tx.put_tenant(&slug, 1_000_000, 1_000_000, now).await?);
    }
    let pool = Pool {
        id: PoolId::generate(),
        name: "bench".to_owned(),
        region: "local".to_owned(),
        image: "bench@sha256:00".to_owned(),
        target_ready: 0,
        max_sandboxes: 1_000_000,
    };
    let pool = tx.put_pool(&pool, now).await?;
    tx.commit().await?;
    let mut endpoints = Vec::new();
    for tenant in &tenants {
        let id = Uuid::now_v7();
        sqlx::query(
            "insert into endpoints (id, tenant_id, source, path_token, secret_refs, created_at)
             values ($1, $2, 'generic', $3, array['webhook/bench'], now())",
        )
        .bind(id)
        .bind(tenant.as_uuid())
        .bind(id.simple().to_string())
        .execute(admin)
        .await?;
        endpoints.push(id);
    }
    Ok(Cast {
        tenants,
        endpoints,
        pool,
    })
}

impl Cast {
    /// `n` alerts with their incidents and deliveries, of tenant `number` modulo the tenants.
    pub(crate) async fn cases(
        &self,
        admin: &PgPool,
        n: usize,
        tenants: std::ops::Range<usize>,
    ) -> Result<Vec<Case>> {
        let owners = tenants.len().max(1);
        let mut cases = Vec::with_capacity(n);
        let (mut endpoint, mut tenant) = (Vec::new(), Vec::new());
        let (mut incident, mut alert) = (Vec::new(), Vec::new());
        for number in 0..n {
            let owner = tenants.start + number % owners;
            let case = Case {
                tenant: self.tenants[owner],
                incident: IncidentId::generate(),
                alert: AlertId::generate(),
            };
            endpoint.push(self.endpoints[owner]);
            tenant.push(case.tenant.as_uuid());
            incident.push(case.incident.as_uuid());
            alert.push(case.alert.as_uuid());
            cases.push(case);
        }
        let mut tx = admin.begin().await?;
        trust_ourselves(&mut tx).await?;
        sqlx::query(
            "with new as (
                 select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[])
                     as new (endpoint, tenant, incident, alert)
             ), deliveries as (
                 insert into deliveries
                 select alert, tenant, endpoint, alert::text, 'signal', null, '{}', now() from new
             ), incidents as (
                 insert into incidents
                 select incident, tenant, 'generic', incident::text, 'p99 is above 2 s', 'open',
                        now(), null
                   from new
             )
             insert into alerts
             select alert, tenant, incident, alert, 'generic', 'firing', 'p99 is above 2 s', 'web',
                    'high', now(), null, '{}', now()
               from new",
        )
        .bind(&endpoint)
        .bind(&tenant)
        .bind(&incident)
        .bind(&alert)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(cases)
    }

    /// Puts `n` ready sandboxes into the pool, as provisioning would leave them.
    pub(crate) async fn stock(&self, admin: &PgPool, n: usize) -> Result<()> {
        let ids: Vec<Uuid> = (0..n).map(|_| Uuid::now_v7()).collect();
        sqlx::query(
            "insert into sandboxes (id, pool_id, state, app, volume, machine, machine_version,
                                    deadline_at, created_at, ready_at)
             select id, $2, 'ready', 'ns-' || id, 'vol-' || id, 'machine-' || id, 'v1',
                    now() + interval '1 day', now(), now()
               from unnest($1::uuid[]) id",
        )
        .bind(&ids)
        .bind(self.pool.as_uuid())
        .execute(admin)
        .await?;
        Ok(())
    }

    /// Makes finished investigations until there are `total`, each with its delivery, incident, alert,
    /// ticket, sandbox and two events.
    pub(crate) async fn history(&self, admin: &PgPool, total: i64) -> Result<()> {
        const AT_ONCE: i64 = 100_000;
        let mut there: i64 =
            sqlx::query_scalar("select count(*) from investigations where state = 'concluded'")
                .fetch_one(admin)
                .await?;
        while there < total {
            let more = (total - there).min(AT_ONCE);
            self.finished(admin, there, more).await?;
            there += more;
        }
        settle(admin).await
    }

    async fn finished(&self, admin: &PgPool, from: i64, n: i64) -> Result<()> {
        let tenants: Vec<Uuid> = self.tenants.iter().map(|id| id.as_uuid()).collect();
        let mut tx = admin.begin().await?;
        trust_ourselves(&mut tx).await?;
        // Identities grow with time, as ours do: version 7 of RFC 9562.
        sqlx::query(
            "create temporary table finished on commit drop as
             select (lpad(to_hex(1700000000000 + g), 12, '0') || '7'
                        || substr(md5(g::text), 2, 19))::uuid as id,
                    ($1::uuid[])[1 + g % array_length($1, 1)] as tenant,
                    ($2::uuid[])[1 + g % array_length($1, 1)] as endpoint,
                    timestamptz '2026-01-01' + g * interval '1 second' as at
               from generate_series($3::bigint, $3 + $4 - 1) g",
        )
        .bind(&tenants)
        .bind(&self.endpoints)
        .bind(from)
        .bind(n)
        .execute(&mut *tx)
        .await?;
        for statement in FINISHED {
            sqlx::query(statement)
                .bind(self.pool.as_uuid())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

const FINISHED: [&str; 7] = [
    "insert into deliveries
     select id, tenant, endpoint, id::text, 'signal', null, '{}', at from finished
      where $1::uuid is not null",
    "insert into incidents
     select id, tenant, 'generic', id::text, 'p99 is above 2 s', 'resolved', at, at from finished
      where $1::uuid is not null",
    "insert into alerts
     select id, tenant, id, id, 'generic', 'firing', 'p99 is above 2 s', 'web', 'high', at, null,
            '{}', at
       from finished where $1::uuid is not null",
    "insert into sandboxes (id, pool_id, state, investigation_id, reason, epoch, attested_epoch, app,
                            volume, machine, machine_version, created_at, ready_at)
     select id, $1, 'gone', id, 'its investigation is over', 1, 1, 'ns-' || id, 'vol-' || id,
            'machine-' || id, 'v1', at, at
       from finished",
    "insert into investigations (id, tenant_id, incident_id, alert_id, state, ended_at, granted_at,
                                 version, created_at)
     select id, tenant, id, id, 'concluded', at, at, 9, at from finished where $1::uuid is not null",
    "insert into tickets (investigation_id, tenant_id, pool_id, state, created_at, granted_at)
     select id, tenant, $1, 'granted', at, at from finished order by id",
    "insert into investigation_events (investigation_id, at, kind, detail)
     select id, at, kind, '{\"epoch\": 1}' from finished, unnest(array['accepted', 'claimed']) kind
      where $1::uuid is not null",
];

/// Foreign keys of rows that we make in bulk hold by construction; checking a million of them one by one
/// takes minutes. Only for this transaction.
async fn trust_ourselves(tx: &mut sqlx::PgTransaction<'_>) -> Result<()> {
    sqlx::query("set local session_replication_role = replica")
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Leaves the tables as autovacuum would have by now, and the disk quiet.
pub(crate) async fn settle(admin: &PgPool) -> Result<()> {
    sqlx::query("vacuum (analyze)").execute(admin).await?;
    sqlx::query("checkpoint").execute(admin).await?;
    Ok(())
}

/// The time.
pub(crate) fn now() -> DateTime<Utc> {
    SystemClock.now()
}
