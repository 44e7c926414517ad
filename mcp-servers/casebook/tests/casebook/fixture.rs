//! A database with investigations at work, and words for what the tests say most often.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_casebook::{CasebookServer, Cases, RunKey, ToolRuns};
use nightshift_domain::{
    AlertId, EndpointId, Epoch, EvidenceId, EvidenceKind, Investigation, InvestigationId, PoolId,
    Sandbox, SandboxId, TenantId,
    alert::{Alert, AlertStatus, Severity, Signal},
    investigation::State,
};
use nightshift_mcp_kit::{Clock, EvidenceLog, Runs, testing::TestServer};
use nightshift_protocol::run::{RecordEvidence, RunStatus};
use nightshift_store::{Delivery, Disposition, Endpoint, Pool, Role, Store};
use serde_json::{Value, json};
use sqlx::PgPool;

/// How long a reported sandbox is kept.
pub(crate) const REST_FOR: TimeDelta = TimeDelta::seconds(900);

/// A clock that stands still until it is moved.
#[derive(Debug, Clone)]
pub(crate) struct StillClock(Arc<AtomicI64>);

impl StillClock {
    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for StillClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0.load(Ordering::SeqCst), 0).unwrap()
    }
}

/// A database, the cases in it, and the time.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) pg: PgPool,
    pub(crate) cases: Cases,
    pub(crate) clock: StillClock,
    pub(crate) pool: PoolId,
}

/// A run at work and what it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) key: RunKey,
    pub(crate) alert: AlertId,
}

impl World {
    pub(crate) async fn new(pg: PgPool) -> Self {
        // The tests prepare and look as the database's owner; the casebook is what it is in production.
        let store = Store::new(pg.clone());
        let acting = Role::Casebook
            .acting(&pg.connect_options(), 4)
            .await
            .unwrap();
        let clock = StillClock(Arc::new(AtomicI64::new(1_790_000_000)));
        let cases = Cases::new(Store::new(acting), Arc::new(clock.clone()), REST_FOR);
        let mut tx = store.begin().await.unwrap();
        let pool = Pool {
            id: PoolId::generate(),
            name: "default".to_owned(),
            region: "here".to_owned(),
            image: "sandbox@sha256:5a5a".to_owned(),
            target_ready: 1,
            max_sandboxes: 10,
        };
        let pool = tx.put_pool(&pool, clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        Self {
            store,
            pg,
            cases,
            clock,
            pool,
        }
    }

    pub(crate) async fn tenant(&self, slug: &str) -> TenantId {
        let mut tx = self.store.begin().await.unwrap();
        let id = tx.put_tenant(slug, 10, 10, self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// An alert about `key` that fired `seconds` from now.
    pub(crate) async fn alert(&self, tenant: TenantId, key: &str, seconds: i64) -> Alert {
        let now = self.clock.now();
        let signal = Signal {
            source_key: key.to_owned(),
            status: AlertStatus::Firing,
            title: format!("{key} is slow"),
            service: Some("ledger".to_owned()),
            severity: Severity::High,
            fired_at: now + TimeDelta::seconds(seconds),
            link: None,
            details: json!({ "note": "p95 above 2 s" }),
        };
        let mut tx = self.store.begin().await.unwrap();
        let endpoint = Endpoint {
            id: EndpointId::generate(),
            tenant,
            source: "generic".to_owned(),
            path_token: EndpointId::generate().to_string(),
            secret_refs: Vec::new(),
            mapping: None,
        };
        tx.put_endpoint(&endpoint, now).await.unwrap();
        let delivery = Delivery {
            tenant,
            endpoint: endpoint.id,
            key,
            disposition: Disposition::Signal,
            detail: None,
            body: b"{}",
        };
        let delivery = tx.keep_delivery(delivery, now).await.unwrap().unwrap();
        let incident = tx
            .touch_incident(tenant, "generic", &signal, now)
            .await
            .unwrap();
        let id = AlertId::generate();
        let source = "generic".to_owned();
        let alert = Alert {
            id,
            tenant,
            incident,
            source,
            signal,
            received_at: now,
        };
        tx.add_alert(&alert, delivery).await.unwrap();
        tx.commit().await.unwrap();
        alert
    }

    /// An investigation of a new alert about `key`, at work in a sandbox of its own.
    pub(crate) async fn run(&self, tenant: TenantId, key: &str) -> Run {
        let alert = self.alert(tenant, key, 0).await;
        let now = self.clock.now();
        let id = InvestigationId::generate();
        let new = Investigation::open(id, tenant, alert.incident, alert.id, now);
        let mut tx = self.store.begin().await.unwrap();
        tx.open_investigation(&new, self.pool).await.unwrap();
        tx.commit().await.unwrap();
        // The server's tests begin where a grant has been made, and made up by hand.
        for made_by_opening in [
            "delete from tickets where investigation_id = $1",
            "delete from investigation_events where investigation_id = $1",
            "delete from outbox where kind = 'claim_wake' and $1::uuid is not null",
        ] {
            let query = sqlx::query(made_by_opening).bind(id.as_uuid());
            query.execute(&self.pg).await.unwrap();
        }
        let sandbox = self.claim(id).await;
        let epoch = self.attest(id).await;
        let key = RunKey {
            tenant,
            investigation: id,
            sandbox,
            epoch,
        };
        Run {
            key,
            alert: alert.id,
        }
    }

    /// Gives a queued investigation a sandbox that was just made.
    pub(crate) async fn claim(&self, id: InvestigationId) -> SandboxId {
        let now = self.clock.now();
        let new = Sandbox::plan(SandboxId::generate(), self.pool, now);
        let mut tx = self.store.begin().await.unwrap();
        tx.add_sandbox(&new, now).await.unwrap();
        for _ in 0..3 {
            let sandbox = tx.sandbox(new.id).await.unwrap().unwrap();
            let moved = sandbox
                .clone()
                .provision(now)
                .or_else(|_| sandbox.clone().ready(now))
                .or_else(|_| sandbox.claim(id, now))
                .unwrap();
            tx.apply_sandbox(moved, now).await.unwrap();
        }
        let sandbox = tx.sandbox(new.id).await.unwrap().unwrap();
        let investigation = tx.investigation(id).await.unwrap().unwrap();
        let claimed = investigation.claim(sandbox.id, sandbox.epoch, now).unwrap();
        tx.apply(claimed, now).await.unwrap();
        tx.commit().await.unwrap();
        new.id
    }

    /// Loses the run's sandbox: it is on its way out, and the investigation waits for another.
    pub(crate) async fn lose(&self, run: Run) {
        let now = self.clock.now();
        let mut tx = self.store.begin().await.unwrap();
        let sandbox = tx.sandbox(run.key.sandbox).await.unwrap().unwrap();
        let retiring = sandbox.retire("its host is gone", now).unwrap();
        tx.apply_sandbox(retiring, now).await.unwrap();
        tx.commit().await.unwrap();
        self.transit(run.key.investigation, Investigation::requeue)
            .await;
    }

    /// Lets the claimed start work.
    pub(crate) async fn attest(&self, id: InvestigationId) -> Epoch {
        let now = self.clock.now();
        let mut tx = self.store.begin().await.unwrap();
        let investigation = tx.investigation(id).await.unwrap().unwrap();
        let epoch = investigation.state.run().unwrap().epoch;
        tx.apply(investigation.attest(epoch, now).unwrap(), now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        epoch
    }

    /// Moves an investigation.
    pub(crate) async fn transit<E: std::fmt::Debug>(
        &self,
        id: InvestigationId,
        to: impl FnOnce(
            Investigation,
            DateTime<Utc>,
        ) -> Result<nightshift_domain::investigation::Transition, E>,
    ) {
        let now = self.clock.now();
        let mut tx = self.store.begin().await.unwrap();
        let investigation = tx.investigation(id).await.unwrap().unwrap();
        tx.apply(to(investigation, now).unwrap(), now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn investigation(&self, id: InvestigationId) -> Investigation {
        let mut tx = self.store.begin().await.unwrap();
        tx.investigation(id).await.unwrap().unwrap()
    }

    pub(crate) async fn state(&self, run: Run) -> State {
        self.investigation(run.key.investigation).await.state
    }

    /// A piece of evidence of the run, as another server recorded it.
    pub(crate) async fn observed(
        &self,
        run: Run,
        kind: EvidenceKind,
        content: Value,
    ) -> EvidenceId {
        let new = RecordEvidence {
            epoch: run.key.epoch,
            kind,
            tool: "telemetry.query_something".to_owned(),
            arguments: json!({}),
            content,
            truncated: false,
            took_ms: 3,
        };
        self.cases
            .record("telemetry", run.key.investigation, new)
            .await
            .unwrap()
    }

    /// The kinds of the steps in the outbox, in order.
    pub(crate) async fn steps(&self) -> Vec<String> {
        sqlx::query_scalar("select kind from outbox order by id")
            .fetch_all(&self.pg)
            .await
            .unwrap()
    }

    /// The kinds of the run's events, in order.
    pub(crate) async fn events(&self, run: Run) -> Vec<String> {
        let id = run.key.investigation;
        let events = self
            .store
            .events_after(Some(run.key.tenant), id, 0)
            .await
            .unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }

    /// The MCP server, called by this run.
    pub(crate) fn server(&self, run: Run) -> TestServer {
        let status = RunStatus {
            investigation: run.key.investigation,
            tenant: run.key.tenant,
            sandbox: run.key.sandbox,
            epoch: run.key.epoch,
            fired_at: self.clock.now(),
            connections: std::collections::BTreeMap::new(),
        };
        let server = CasebookServer::new(self.cases.clone()).unwrap();
        let runs: Arc<dyn Runs> = Arc::new(ToolRuns(self.cases.clone()));
        let log: Arc<dyn EvidenceLog> = Arc::new(self.cases.clone());
        TestServer::with(server, status, &runs, &log)
    }
}

/// A draft that blames `ledger` on this evidence.
pub(crate) fn draft(evidence: &[EvidenceId], confidence: f64) -> Value {
    json!({
        "summary": "ledger asks once per row",
        "root_cause": {
            "component": "ledger",
            "kind": "external_dependency",
            "change": { "type": "no_change", "trigger": "its bank answers slowly" },
            "statement": "ledger waits for its bank",
            "confidence": confidence,
            "evidence": evidence,
        },
        "impact": {
            "summary": "one request in ten fails",
            "failed_share": 0.1,
            "affected": ["web"],
            "evidence": evidence,
        },
    })
}
