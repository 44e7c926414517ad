//! The way of a grant from end to end: enqueue, commit, signal, relay, coordinator, relay, seen.
//!
//! The enqueue writes what intake writes for a new investigation: the investigation, its ticket, its first
//! event and the wake, in one transaction. The carrier takes steps as a queue would: it takes
//! responsibility at once, wakes the pool's one coordinator, and tells the waiter when the dispatch step of
//! its investigation is handed over. Only then is a grant seen: it is what starts a machine.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use nightshift_domain::{InvestigationId, PoolId};
use nightshift_engine::{
    Platform, Settings, SystemClock, claim,
    relay::{self, Carrier},
    steps,
};
use nightshift_protocol::Step;
use nightshift_store::{CHANNEL_EVENTS, CHANNEL_OUTBOX, LeasedStep, Settlement, Store};
use sqlx::PgPool;
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use super::{Bench, matches::open, provider::Nowhere};
use crate::seed::{Case, Cast};

/// Connections of everything that enqueues.
const INTAKE_CONNECTIONS: u32 = 16;
/// Connections of relay and coordinator.
const ENGINE_CONNECTIONS: u32 = 6;
/// Sandboxes that are kept ready at the least, so that the stock is never empty.
const STOCK: usize = 4_000;
/// How often ended investigations are put away and the stock is filled.
const TIDY_EVERY: Duration = Duration::from_millis(100);

/// Everything that runs while grants are measured.
pub(super) struct Flow {
    intake: Store,
    pool: PoolId,
    desk: Arc<Desk>,
    cases: Mutex<Vec<Case>>,
    stop: watch::Sender<bool>,
    running: Vec<JoinHandle<Result<()>>>,
}

/// Who waits for which grant, and which grants were seen.
#[derive(Debug, Default)]
struct Desk {
    waiting: Mutex<HashMap<InvestigationId, oneshot::Sender<()>>>,
    seen: Mutex<Vec<Uuid>>,
    wake: Notify,
}

impl Flow {
    /// Starts relay, coordinator and housekeeping, with cases for `enough` grants.
    pub(super) async fn start(bench: &Bench<'_>, batch: i64, enough: usize) -> Result<Arc<Self>> {
        let admin = &bench.database.admin;
        let everyone = 0..bench.cast.tenants.len();
        let cases = bench.cast.cases(admin, enough, everyone).await?;
        bench.cast.stock(admin, STOCK).await?;
        crate::seed::settle(admin).await?;
        let platform = Platform {
            store: bench.database.store(ENGINE_CONNECTIONS).await?,
            clock: Arc::new(SystemClock),
            provider: Arc::new(Nowhere),
            courier: Arc::new(Nowhere),
            settings: Arc::new(Settings {
                grant_batch: batch,
                ..Settings::default()
            }),
        };
        let (stop, stopped) = watch::channel(false);
        let desk = Arc::new(Desk::default());
        let pool = bench.cast.pool;
        let running = vec![
            tokio::spawn(relay_steps(
                platform.clone(),
                Arc::clone(&desk),
                stopped.clone(),
            )),
            tokio::spawn(coordinate(
                platform,
                pool,
                Arc::clone(&desk),
                stopped.clone(),
            )),
            tokio::spawn(tidy(
                admin.clone(),
                bench.cast.clone(),
                Arc::clone(&desk),
                stopped,
            )),
        ];
        Ok(Arc::new(Self {
            intake: bench.database.store(INTAKE_CONNECTIONS).await?,
            pool,
            desk,
            cases: Mutex::new(cases),
            stop,
            running,
        }))
    }

    /// Enqueues one case and waits until its grant is seen.
    pub(super) async fn one(&self) -> Result<()> {
        let case = self
            .cases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .context("there were too few cases")?;
        let seen = self.enqueue(&case).await?;
        seen.await.context("the bench ended before the grant")
    }

    async fn enqueue(&self, case: &Case) -> Result<oneshot::Receiver<()>> {
        let (tell, seen) = oneshot::channel();
        let new = open(case);
        let (id, now) = (new.id, new.created_at);
        self.desk.expect(id, tell);
        let mut tx = self.intake.begin().await?;
        tx.add_investigation(&new).await?;
        let place = tx.add_ticket(id, case.tenant, self.pool, now).await?;
        let detail = serde_json::json!({ "alert": case.alert, "place": place });
        tx.add_event(id, "accepted", &detail, now).await?;
        let wake = Step::ClaimWake { pool: self.pool };
        tx.enqueue(wake, &self.pool.to_string(), now).await?;
        tx.commit().await?;
        self.intake.signals().send(CHANNEL_OUTBOX);
        self.intake.signals().send(CHANNEL_EVENTS);
        Ok(seen)
    }

    /// Stops everything.
    pub(super) async fn end(self: Arc<Self>, bench: &Bench<'_>) -> Result<()> {
        let _ = self.stop.send(true);
        self.desk.wake.notify_one();
        let flow = Arc::into_inner(self).context("something still uses the flow")?;
        for one in flow.running {
            one.await??;
        }
        super::matches::end_all(bench).await
    }
}

impl Desk {
    fn expect(&self, id: InvestigationId, tell: oneshot::Sender<()>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(id, tell);
    }

    fn tell(&self, id: InvestigationId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tell) = waiting.remove(&id) {
            let _ = tell.send(());
        }
        drop(waiting);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(id.as_uuid());
    }
}

/// Takes steps as a queue does.
struct Queue(Arc<Desk>);

impl Carrier for Queue {
    fn batches(&self, leased: Vec<LeasedStep>) -> Vec<Vec<LeasedStep>> {
        if leased.is_empty() {
            Vec::new()
        } else {
            vec![leased]
        }
    }

    fn carry<'a>(&'a self, batch: &'a [LeasedStep]) -> BoxFuture<'a, Vec<Settlement>> {
        Box::pin(async move {
            for leased in batch {
                match steps::read(&leased.payload).map(|envelope| envelope.step) {
                    Ok(Step::ClaimWake { .. }) => self.0.wake.notify_one(),
                    Ok(Step::Dispatch { investigation, .. }) => self.0.tell(investigation),
                    Ok(_) | Err(_) => {}
                }
            }
            vec![Settlement::Done; batch.len()]
        })
    }
}

async fn relay_steps(
    platform: Platform,
    desk: Arc<Desk>,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    relay::run(platform, Arc::new(Queue(desk)), stop).await;
    Ok(())
}

/// The pool's one coordinator, as the FIFO queue's one message group makes it: a wake that comes while it
/// works makes it look once more.
async fn coordinate(
    platform: Platform,
    pool: PoolId,
    desk: Arc<Desk>,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    while !*stop.borrow() {
        desk.wake.notified().await;
        claim::claim(&platform, pool).await?;
    }
    Ok(())
}

/// Ends what was granted and fills the stock, in bulk; what it costs is part of every figure.
async fn tidy(
    admin: PgPool,
    cast: Cast,
    desk: Arc<Desk>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TIDY_EVERY) => {}
            _ = stop.changed() => return Ok(()),
        }
        let ended = std::mem::take(&mut *desk.seen.lock().unwrap_or_else(PoisonError::into_inner));
        if ended.is_empty() {
            continue;
        }
        cast.stock(&admin, ended.len()).await?;
        sqlx::query(
            "with gone as (
                 update sandboxes
                    set state = 'gone', reason = 'measured', deadline_at = null
                  where state = 'claimed' and investigation_id = any($1)
             )
             update investigations
                set state = 'concluded', sandbox_id = null, epoch = null, deadline_at = null,
                    ended_at = now()
              where id = any($1)",
        )
        .bind(&ended)
        .execute(&admin)
        .await?;
    }
}
