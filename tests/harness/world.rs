//! A running platform, with words for what tests say most often.

use std::sync::Arc;

use anyhow::{Context, Result};
use chrono::TimeDelta;
use nightshift_domain::{
    EndpointId, Investigation, InvestigationId, PoolId, TenantId,
    alert::{AlertStatus, Severity, Signal},
};
use nightshift_engine::{
    Clock, Platform, Settings,
    intake::{self, Accepted, Arrival},
    relay::{Carrier, InProcess},
};
use nightshift_protocol::attestation::{MachineStatement, STATEMENT_AUDIENCE};
use nightshift_store::{Endpoint, Pool, Probe, Role, Settlement, Store};
use sqlx::PgPool;

use crate::{Cloud, Post, TestClock};

const DIGEST: &str = "sha256:5a5a";

/// A running platform.
#[derive(Debug)]
pub struct World {
    /// What the use cases run on; its database knows it as the engine.
    pub platform: Platform,
    owner: Store,
    intake: Store,
    /// The database, for asking it directly.
    pub pg: PgPool,
    /// The time.
    pub clock: TestClock,
    /// Where sandboxes are made.
    pub cloud: Cloud,
    /// Who carries reports.
    pub post: Post,
    /// The pool.
    pub pool: PoolId,
    /// The tenants' endpoints, in the order in which they were asked for.
    pub endpoints: Vec<Endpoint>,
}

/// Describes a [`World`] before it starts.
#[derive(Debug)]
#[must_use]
pub struct WorldBuilder {
    target_ready: i32,
    max_sandboxes: i32,
    tenants: usize,
    max_running: i32,
    max_queued: i32,
}

impl World {
    /// Starts describing a platform: one tenant, an empty pool.
    pub const fn builder() -> WorldBuilder {
        WorldBuilder {
            target_ready: 0,
            max_sandboxes: 100,
            tenants: 1,
            max_running: 100,
            max_queued: 100,
        }
    }

    /// The database as its owner sees it.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.owner
    }

    /// From here on somebody watches every transaction from inside.
    pub fn watch(&mut self, probe: &Arc<dyn Probe>) {
        for store in [&mut self.platform.store, &mut self.intake] {
            *store = store.clone().watched_by(Arc::clone(probe));
        }
    }

    /// Takes in a firing signal of the first tenant about the thing called `key`.
    pub async fn alert(&self, key: &str) -> Result<InvestigationId> {
        self.alert_of(0, key).await
    }

    /// Takes in a firing signal of one tenant.
    pub async fn alert_of(&self, tenant: usize, key: &str) -> Result<InvestigationId> {
        let accepted = self.deliver(tenant, key, key, AlertStatus::Firing).await?;
        accepted.investigation.context("it opened no investigation")
    }

    /// Takes in any signal.
    pub async fn deliver(
        &self,
        tenant: usize,
        delivery_key: &str,
        source_key: &str,
        status: AlertStatus,
    ) -> Result<Accepted> {
        let signal = Signal {
            source_key: source_key.to_owned(),
            status,
            title: format!("{source_key} is slow"),
            service: Some("web".to_owned()),
            severity: Severity::High,
            fired_at: self.clock.now(),
            link: None,
            details: serde_json::json!({}),
        };
        let arrival = Arrival {
            delivery_key,
            body: b"{}",
            signal,
        };
        let endpoint = self.endpoints.get(tenant).context("no such tenant")?;
        Ok(intake::accept(&self.intake, &self.clock, endpoint, arrival).await?)
    }

    /// Carries out every step that is due, until none is.
    pub async fn settle(&self) -> Result<()> {
        let carrier = InProcess::new(self.platform.clone());
        for _ in 0..1_000 {
            let now = self.clock.now();
            let leased = self
                .platform
                .store
                .lease_steps(now, TimeDelta::seconds(60), 1)
                .await?;
            let Some(step) = leased.first() else {
                return Ok(());
            };
            for settlement in carrier.carry(&leased).await {
                let store = &self.platform.store;
                store.settle_step(step, settlement, now).await?;
            }
        }
        anyhow::bail!("the steps never came to an end")
    }

    /// Carries out one due step; tells what became of it.
    pub async fn step(&self) -> Result<Option<Settlement>> {
        let carrier = InProcess::new(self.platform.clone());
        let now = self.clock.now();
        let leased = self
            .platform
            .store
            .lease_steps(now, TimeDelta::seconds(60), 1)
            .await?;
        let Some(step) = leased.first() else {
            return Ok(None);
        };
        let settled = carrier.carry(&leased).await;
        let settlement = settled.into_iter().next().context("nothing was told")?;
        self.platform
            .store
            .settle_step(step, settlement.clone(), now)
            .await?;
        Ok(Some(settlement))
    }

    /// Fills the pool.
    pub async fn fill(&self) -> Result<()> {
        nightshift_engine::refill::refill(&self.platform, self.pool).await?;
        self.settle().await
    }

    /// Reads an investigation.
    pub async fn investigation(&self, id: InvestigationId) -> Result<Investigation> {
        let mut tx = self.store().begin().await?;
        tx.investigation(id).await?.context("it was never stored")
    }

    /// The statement that the machine of an investigation's sandbox would get, with a fresh identity.
    pub async fn statement(&self, id: InvestigationId) -> Result<MachineStatement> {
        let run = self
            .investigation(id)
            .await?
            .state
            .run()
            .context("it holds no sandbox")?;
        let mut tx = self.store().begin().await?;
        let sandbox = tx.sandbox(run.sandbox).await?.context("no such sandbox")?;
        let now = self.clock.now().timestamp();
        Ok(MachineStatement {
            iss: "https://identity.test".to_owned(),
            aud: STATEMENT_AUDIENCE.to_owned(),
            app_name: sandbox.parts.app.context("no app")?,
            machine_id: sandbox.parts.machine.context("no machine")?,
            machine_version: sandbox.parts.machine_version.context("no version")?,
            image_digest: DIGEST.to_owned(),
            jti: nightshift_domain::MessageId::generate().to_string(),
            iat: now,
            nbf: now,
            exp: now + 600,
        })
    }
}

impl WorldBuilder {
    /// Keeps `count` sandboxes ready.
    pub const fn ready(mut self, count: i32) -> Self {
        self.target_ready = count;
        self
    }

    /// Allows at most `count` sandboxes at once.
    pub const fn at_most(mut self, count: i32) -> Self {
        self.max_sandboxes = count;
        self
    }

    /// Has `count` tenants.
    pub const fn tenants(mut self, count: usize) -> Self {
        self.tenants = count;
        self
    }

    /// Lets each tenant hold `count` sandboxes.
    pub const fn max_running(mut self, count: i32) -> Self {
        self.max_running = count;
        self
    }

    /// Lets each tenant have `count` waiting tickets.
    pub const fn max_queued(mut self, count: i32) -> Self {
        self.max_queued = count;
        self
    }

    /// Builds it on a fresh database, with its pool filled.
    pub async fn build(self, pg: PgPool) -> Result<World> {
        let clock = TestClock::default();
        let cloud = Cloud::default();
        let post = Post::default();
        let owner = Store::new(pg.clone());
        let acting = async |role: Role| -> Result<Store> {
            let acting = role.acting(&pg.connect_options(), 8).await?;
            Ok(Store::new(acting).beside(&owner))
        };
        let store = acting(Role::Engine).await?;
        let intake = acting(Role::Intake).await?;
        let now = clock.now();
        let mut tx = owner.begin().await?;
        let pool = Pool {
            id: PoolId::generate(),
            name: "test".to_owned(),
            region: "local".to_owned(),
            image: format!("sandbox@{DIGEST}"),
            target_ready: self.target_ready,
            max_sandboxes: self.max_sandboxes,
        };
        let pool = tx.put_pool(&pool, now).await?;
        let mut endpoints = Vec::new();
        for number in 0..self.tenants {
            let slug = format!("tenant-{number}");
            let tenant: TenantId = tx
                .put_tenant(&slug, self.max_running, self.max_queued, now)
                .await?;
            let endpoint = Endpoint {
                id: EndpointId::generate(),
                tenant,
                source: "generic".to_owned(),
                path_token: slug,
                secret_refs: vec!["test".to_owned()],
                mapping: None,
            };
            tx.put_endpoint(&endpoint, now).await?;
            endpoints.push(endpoint);
        }
        tx.commit().await?;
        let platform = Platform {
            store,
            clock: Arc::new(clock.clone()),
            provider: Arc::new(cloud.clone()),
            courier: Arc::new(post.clone()),
            // Small, so that a queue is longer than a batch.
            settings: Arc::new(Settings {
                grant_batch: 4,
                ..Settings::default()
            }),
        };
        let world = World {
            platform,
            owner,
            intake,
            pg,
            clock,
            cloud,
            post,
            pool,
            endpoints,
        };
        world.fill().await?;
        Ok(world)
    }
}
