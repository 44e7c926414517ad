//! The way of a grant from end to end: enqueue, commit, signal, relay, coordinator, relay, seen.
//!
//! The enqueue writes what intake writes for a new investigation: the investigation, its ticket, its first
//! event and the wake, in one transaction. The carrier takes steps as a queue would: it takes
//! responsibility at once, wakes the pool's one coordinator, and tells the waiter when the dispatch step of
//! its investigation is handed over. Only then is a grant seen: it is what starts a machine.

use std::{
    collections::HashMap,
    ops::Range,
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
    sync::{oneshot, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use super::{Bench, matches::open, provider::Nowhere, supply::Supply};
use crate::seed::{Case, Cast};

/// Connections of everything that enqueues, as a pooler in front of PostgreSQL would keep them: enough to share a
/// flush of the disk, few enough not to be in each other's way (`docs/decisions/0017-an-investigation-is-opened-in-one-statement.md`).
const INTAKE_CONNECTIONS: u32 = 8;
/// Connections of relay and coordinator.
const ENGINE_CONNECTIONS: u32 = 4;
/// Connections that signal, apart from those: a signal must not queue behind the work that it is about.
const SIGNAL_CONNECTIONS: u32 = 2;
/// Connections of refill and provisioning, where they run.
const SUPPLY_CONNECTIONS: u32 = 8;
/// Sandboxes that are kept ready at the least, so that the stock is never empty.
const STOCK: usize = 4_000;
/// How often ended investigations are put away and the stock is filled.
const TIDY_EVERY: Duration = Duration::from_millis(100);

/// What runs while grants are measured.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Grants in one transaction, at most.
    pub(crate) batch: i64,
    /// Who signals: we after the commit, or a trigger inside every transaction that writes a step.
    pub(crate) notify: Notify,
    /// How ready sandboxes come.
    pub(crate) stock: Stock,
    /// Groups of tenants, by place, and how many cases each needs.
    pub(crate) groups: Vec<(Range<usize>, usize)>,
}

/// Who signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notify {
    AfterCommit,
    InTransaction,
}

/// How ready sandboxes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stock {
    /// There is always one.
    Plenty,
    /// At this rate, so that tickets wait.
    PerSecond(usize),
    /// There is always one, and refill and provisioning make more all the time.
    Refilled,
}

/// Everything that runs while grants are measured.
pub(crate) struct Flow {
    intake: Store,
    signals: Store,
    pool: PoolId,
    notify: Notify,
    desk: Arc<Desk>,
    cases: Vec<Mutex<Vec<Case>>>,
    stop: watch::Sender<bool>,
    running: Vec<JoinHandle<Result<()>>>,
}

/// Who waits for which grant, and which grants were seen.
#[derive(Debug, Default)]
struct Desk {
    waiting: Mutex<HashMap<InvestigationId, oneshot::Sender<()>>>,
    seen: Mutex<Vec<Uuid>>,
    wake: tokio::sync::Notify,
}

impl Options {
    /// The platform as it is, with cases for `enough` grants of all tenants.
    pub(crate) fn plain(bench: &Bench<'_>, enough: usize) -> Self {
        Self {
            batch: Settings::default().grant_batch,
            notify: Notify::AfterCommit,
            stock: Stock::Plenty,
            groups: vec![(0..bench.cast.tenants.len(), enough)],
        }
    }
}

impl Flow {
    /// Starts relay, coordinator and housekeeping.
    pub(crate) async fn start(bench: &Bench<'_>, options: &Options) -> Result<Arc<Self>> {
        let admin = &bench.database.admin;
        let mut cases = Vec::new();
        for (tenants, enough) in &options.groups {
            let some = bench.cast.cases(admin, *enough, tenants.clone()).await?;
            cases.push(Mutex::new(some));
        }
        if !matches!(options.stock, Stock::PerSecond(_)) {
            bench.cast.stock(admin, STOCK).await?;
        }
        notify_by_trigger(admin, options.notify == Notify::InTransaction).await?;
        crate::seed::settle(admin).await?;
        let platform = Platform {
            store: bench.database.store(ENGINE_CONNECTIONS).await?,
            clock: Arc::new(SystemClock),
            provider: Arc::new(Nowhere),
            courier: Arc::new(Nowhere),
            settings: Arc::new(Settings {
                grant_batch: options.batch,
                ..Settings::default()
            }),
        };
        let (stop, stopped) = watch::channel(false);
        let desk = Arc::new(Desk::default());
        let pool = bench.cast.pool;
        let mut running = Vec::new();
        let supply = match options.stock {
            Stock::Refilled => {
                let store = bench.database.store(SUPPLY_CONNECTIONS).await?;
                let (supply, runs) = Supply::start(&platform, store, pool, &stopped).await?;
                running.push(runs);
                Some(supply)
            }
            Stock::Plenty | Stock::PerSecond(_) => None,
        };
        let queue = Queue {
            desk: Arc::clone(&desk),
            supply,
        };
        let tidy = Tidy {
            admin: admin.clone(),
            cast: bench.cast.clone(),
            desk: Arc::clone(&desk),
            stock: options.stock,
        };
        running.extend([
            tokio::spawn(relay_steps(platform.clone(), queue, stopped.clone())),
            tokio::spawn(coordinate(
                platform,
                pool,
                Arc::clone(&desk),
                stopped.clone(),
            )),
            tokio::spawn(tidy.run(stopped)),
        ]);
        Ok(Arc::new(Self {
            intake: bench.database.store(INTAKE_CONNECTIONS).await?,
            signals: bench.database.store(SIGNAL_CONNECTIONS).await?,
            pool,
            notify: options.notify,
            desk,
            cases,
            stop,
            running,
        }))
    }

    /// Enqueues one case of a group and waits until its grant is seen.
    pub(crate) async fn one(&self, group: usize) -> Result<()> {
        let cases = self.cases.get(group).context("no such group")?;
        let case = cases
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
        self.desk.expect(new.id, tell);
        let mut tx = self.intake.begin().await?;
        tx.open_investigation(&new, self.pool).await?;
        tx.commit().await?;
        if self.notify == Notify::AfterCommit {
            self.signals.signals().send(CHANNEL_OUTBOX);
            self.signals.signals().send(CHANNEL_EVENTS);
        }
        Ok(seen)
    }

    /// Stops everything.
    pub(crate) async fn end(self: Arc<Self>, bench: &Bench<'_>) -> Result<()> {
        let _ = self.stop.send(true);
        self.desk.wake.notify_one();
        let flow = Arc::into_inner(self).context("something still uses the flow")?;
        for one in flow.running {
            one.await??;
        }
        notify_by_trigger(&bench.database.admin, false).await?;
        super::matches::end_all(bench).await
    }
}

/// The peer: `notify` inside every transaction that writes a step.
async fn notify_by_trigger(admin: &PgPool, wanted: bool) -> Result<()> {
    let mut statements = vec!["drop function if exists notify_of_steps cascade"];
    if wanted {
        statements.extend([
            "create function notify_of_steps() returns trigger language plpgsql as
             $$ begin perform pg_notify('nightshift_outbox', ''); return null; end $$",
            "create trigger notify_of_steps after insert on outbox
             for each statement execute function notify_of_steps()",
        ]);
    }
    for statement in statements {
        sqlx::query(statement).execute(admin).await?;
    }
    Ok(())
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
struct Queue {
    desk: Arc<Desk>,
    supply: Option<Supply>,
}

impl Carrier for Queue {
    /// As many as SQS takes in one request.
    fn in_a_batch(&self) -> usize {
        10
    }

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
                    Ok(Step::ClaimWake { .. }) => self.desk.wake.notify_one(),
                    Ok(Step::Dispatch { investigation, .. }) => self.desk.tell(investigation),
                    Ok(step) => {
                        if let Some(supply) = &self.supply {
                            supply.take(step);
                        }
                    }
                    Err(_) => {}
                }
            }
            vec![Settlement::Done; batch.len()]
        })
    }
}

async fn relay_steps(platform: Platform, queue: Queue, stop: watch::Receiver<bool>) -> Result<()> {
    relay::run(platform, Arc::new(queue), stop).await;
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
struct Tidy {
    admin: PgPool,
    cast: Cast,
    desk: Arc<Desk>,
    stock: Stock,
}

impl Tidy {
    async fn run(self, mut stop: watch::Receiver<bool>) -> Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(TIDY_EVERY) => {}
                _ = stop.changed() => return Ok(()),
            }
            let seen = &self.desk.seen;
            let ended = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
            let more = match self.stock {
                Stock::Plenty | Stock::Refilled => ended.len(),
                Stock::PerSecond(rate) => rate / 10,
            };
            if more > 0 {
                self.cast.stock(&self.admin, more).await?;
                self.desk.wake.notify_one();
            }
            if !ended.is_empty() {
                sqlx::query(END).bind(&ended).execute(&self.admin).await?;
            }
        }
    }
}

const END: &str = "with gone as (
                       update sandboxes
                          set state = 'gone', reason = 'measured', deadline_at = null
                        where state = 'claimed' and investigation_id = any($1)
                   )
                   update investigations
                      set state = 'concluded', sandbox_id = null, epoch = null, deadline_at = null,
                          ended_at = now()
                    where id = any($1)";
