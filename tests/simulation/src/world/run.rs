//! Letting one actor go at a time, and what may happen to it on the way.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::LocalBoxFuture;
use nightshift_domain::sizing::Sizing;
use nightshift_store::{Store, Verdict};
use tokio::{task, time};

use super::{Role, Slot, World};
use crate::{
    cell::Cell,
    cloud::Boot,
    core::{Core, lock},
    invariants::Commit,
    snapshot::Snapshot,
};

/// How long the database may take until we ask whether somebody's lock is in the way. Only when we ask
/// depends on it, never the answer: the holder stands still until we let it go.
const ASK_AFTER: Duration = Duration::from_millis(4);

/// How often, in ten thousand, those who hesitate do.
const HESITATES: u64 = 4_000;

/// How far an actor got.
enum Reached {
    /// The next point.
    Point,
    /// Its end.
    End,
    /// The database has not answered.
    Waiting,
}

/// What becomes of an actor that is let go.
enum Fate {
    GoOn(Verdict),
    Crash,
    Pause(TimeDelta),
}

impl World {
    /// Lets one actor go to its next point, or the time to the next event. Tells whether there was one.
    pub async fn turn(&mut self) -> anyhow::Result<bool> {
        let chosen = {
            let mut core = lock(&self.core);
            let ready = |slot: &Slot| slot.ready_at(&core).is_some_and(|at| at <= core.now);
            let able = self.places(ready);
            let place = core.rng.below(able.len());
            able.get(place).copied()
        };
        let Some(chosen) = chosen else {
            return Ok(self.wait_for_next());
        };
        self.step(chosen, &mut Vec::new()).await?;
        self.let_the_world_turn().await?;
        Ok(true)
    }

    /// Whether every process of ours waits for something to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let idle = |slot: &Slot| !slot.role.is_ours() || slot.is_idle();
        self.slots.iter().all(idle)
    }

    /// Ends everything that stands still without need.
    pub fn hurry(&mut self) {
        for slot in &mut self.slots {
            slot.not_before = None;
        }
    }

    /// A person sends dead steps back.
    pub async fn redrive(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        sqlx::query("update outbox set dead_at = null, due_at = $1 where dead_at is not null")
            .bind(now)
            .execute(&self.monitor)
            .await?;
        Ok(())
    }

    /// Reads the database as it is.
    pub async fn look(&self) -> anyhow::Result<Arc<Snapshot>> {
        let snapshot = Arc::new(Snapshot::read(&self.monitor).await?);
        lock(&self.core).snapshot = Arc::clone(&snapshot);
        Ok(snapshot)
    }

    fn places(&self, that: impl Fn(&Slot) -> bool) -> Vec<usize> {
        let all = self.slots.iter().enumerate();
        all.filter(|(_, slot)| that(slot))
            .map(|(index, _)| index)
            .collect()
    }

    fn slot(&mut self, index: usize) -> anyhow::Result<&mut Slot> {
        self.slots.get_mut(index).context("no such actor")
    }

    /// Lets the time jump to whatever happens next; `false` if nothing ever will.
    fn wait_for_next(&mut self) -> bool {
        let mut core = lock(&self.core);
        let ready = self.slots.iter().filter_map(|slot| slot.ready_at(&core));
        let Some(next) = ready.chain(core.cloud.next_late()).min() else {
            return false;
        };
        core.now = core.now.max(next);
        let (now, step) = (core.now, core.step);
        core.cloud.catch_up(now, step);
        true
    }

    /// What happens between two steps: time, late effects, machines that vanish, agents that begin and end.
    async fn let_the_world_turn(&mut self) -> anyhow::Result<()> {
        let (booted, stopped) = {
            let mut core = lock(&self.core);
            let passes = core.rng.millis(1..=25);
            core.now += passes;
            let (now, step) = (core.now, core.step);
            core.cloud.catch_up(now, step);
            lose_a_machine(&mut core);
            core.cloud.remember(now);
            let cloud = &mut core.cloud;
            (
                std::mem::take(&mut cloud.booted),
                std::mem::take(&mut cloud.stopped),
            )
        };
        for machine in stopped {
            self.stop_agent(&machine).await?;
        }
        for boot in booted {
            self.begin_agent(boot).await?;
        }
        Ok(())
    }

    async fn stop_agent(&mut self, machine: &str) -> anyhow::Result<()> {
        let runs =
            |slot: &Slot| matches!(&slot.role, Role::Agent(Some(boot)) if boot.machine == machine);
        for index in self.places(runs) {
            let survives = {
                let mut core = lock(&self.core);
                let faults = core.faults();
                core.rng.happens(faults.machine * 3)
            };
            // Its host was told, and did not hear: a zombie, as far as we know.
            if !survives {
                self.kill(index, "is stopped").await?;
            }
        }
        Ok(())
    }

    async fn begin_agent(&mut self, boot: Boot) -> anyhow::Result<()> {
        let agents = self.places(|slot| matches!(slot.role, Role::Agent(_)));
        let rank = |index: &usize| {
            let slot = self.slots.get(*index);
            slot.map(|slot| (slot.life.is_some(), slot.began))
        };
        let index = agents
            .into_iter()
            .min_by_key(rank)
            .context("no place for an agent")?;
        self.kill(index, "makes room").await?;
        let core = Arc::clone(&self.core);
        let slot = self.slot(index)?;
        {
            let mut core = lock(&core);
            let name = slot.cell.name();
            core.note(&format!(
                "{name} begins in {} boot {}",
                boot.app, boot.number
            ));
            slot.began = core.step;
        }
        slot.role = Role::Agent(Some(boot));
        slot.begin();
        Ok(())
    }

    /// Ends an actor where it stands; its transaction is rolled back before anybody else runs.
    async fn kill(&mut self, index: usize, why: &str) -> anyhow::Result<()> {
        let core = Arc::clone(&self.core);
        let slot = self.slot(index)?;
        if slot.life.take().is_none() {
            return Ok(());
        }
        lock(&core).note(&format!("{} {why}", slot.cell.name()));
        slot.cell.forget();
        slot.settle().await;
        slot.not_before = None;
        Ok(())
    }

    /// Lets one actor go. `chain` is who waits for whom.
    fn step<'a>(
        &'a mut self,
        index: usize,
        chain: &'a mut Vec<usize>,
    ) -> LocalBoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let core = Arc::clone(&self.core);
            let slot = self.slot(index)?;
            let fate = {
                let mut core = lock(&core);
                core.step += 1;
                fate_of(&mut core, slot, !chain.is_empty())
            };
            match fate {
                Fate::Crash => return self.crash(index).await,
                Fate::Pause(length) => {
                    slot.not_before = Some(lock(&core).now + length);
                    return Ok(());
                }
                Fate::GoOn(verdict) => {
                    slot.not_before = None;
                    slot.cell.release(verdict);
                }
            }
            self.go_to_next_point(index, chain).await?;
            let slot = self.slot(index)?;
            slot.settle().await;
            if slot.cell.take_changed() {
                self.judge(index).await?;
            }
            let slot = self.slot(index)?;
            if slot.life.is_none() {
                slot.cell.forget();
            }
            Ok(())
        })
    }

    /// Where a lock is in the way, its holder goes first, and nobody else: two who wait for the same
    /// thing would go on in an order of the database's choosing.
    async fn go_to_next_point(
        &mut self,
        index: usize,
        chain: &mut Vec<usize>,
    ) -> anyhow::Result<()> {
        loop {
            let slot = self.slot(index)?;
            match go(slot).await {
                Reached::Point => return Ok(()),
                Reached::End => {
                    slot.life = None;
                    return Ok(());
                }
                Reached::Waiting => {
                    let pid = slot.line.pid;
                    let Some(holder) = self.holder(pid).await? else {
                        continue;
                    };
                    if holder == index || chain.contains(&holder) {
                        continue; // A cycle: the database ends it.
                    }
                    self.note_wait(index, holder);
                    chain.push(index);
                    self.step(holder, chain).await?;
                    chain.pop();
                }
            }
        }
    }

    async fn crash(&mut self, index: usize) -> anyhow::Result<()> {
        self.kill(index, "CRASHES").await?;
        let core = Arc::clone(&self.core);
        let slot = self.slot(index)?;
        let mut core = lock(&core);
        core.crashes += 1;
        if let Role::Agent(boot) = &slot.role {
            if let Some(boot) = boot {
                core.cloud.exit(&boot.machine);
            }
            return Ok(());
        }
        let again = core.now + core.rng.millis(10..=2_000);
        drop(core);
        slot.begin();
        slot.not_before = Some(again);
        Ok(())
    }

    /// Whose lock a connection waits for, if it waits for one of an actor that stands still.
    async fn holder(&self, pid: i32) -> anyhow::Result<Option<usize>> {
        let pids: Vec<i32> = sqlx::query_scalar("select pg_blocking_pids($1)")
            .bind(pid)
            .fetch_one(&self.monitor)
            .await?;
        let holds = |slot: &Slot| pids.contains(&slot.line.pid);
        Ok(self.slots.iter().position(holds))
    }

    fn note_wait(&self, waits: usize, holder: usize) {
        let name = |index: usize| self.slots.get(index).map_or("", |slot| slot.cell.name());
        let line = format!("{} waits for a lock of {}", name(waits), name(holder));
        lock(&self.core).note(&line);
    }

    /// Reads the database after a commit and holds every invariant against it.
    async fn judge(&mut self, index: usize) -> anyhow::Result<()> {
        let before = Arc::clone(&lock(&self.core).snapshot);
        let after = Arc::new(Snapshot::read(&self.monitor).await?);
        if before == after {
            return Ok(());
        }
        if before.count(&["ready"]) != after.count(&["ready"]) {
            self.size().await?;
        }
        let slot = self.slots.get(index).context("no such actor")?;
        let (begun, decided) = slot.cell.seen();
        let commit = Commit {
            before: &before,
            after: &after,
            begun: &begun,
            decided: &decided,
            identity: slot.cell.identity(),
        };
        let mut core = lock(&self.core);
        commit.tell(&mut core);
        commit.judge(&mut core, &mut self.granted);
        core.snapshot = after;
        Ok(())
    }
}

impl World {
    /// How many should be ready after this commit, by the pool's own rule. It falls as time passes and
    /// rises with each claim, so the highest ever seen bounds whatever a refill may have had in mind.
    async fn size(&mut self) -> anyhow::Result<()> {
        let (pool, now, floor) = {
            let core = lock(&self.core);
            (core.pool, core.now, core.scenario.target_ready)
        };
        let Some(pool) = pool else { return Ok(()) };
        let mut tx = Store::new(self.monitor.clone()).begin().await?;
        let level = tx.pool_level(pool, now).await?;
        let wanted = usize::try_from(Sizing::of(floor.into(), level.demand).target)?;
        let mut core = lock(&self.core);
        core.most_wanted = core.most_wanted.max(wanted);
        Ok(())
    }
}

/// Polls an actor until it stands, ends, or waits for the database for too long.
async fn go(slot: &mut Slot) -> Reached {
    let Slot { life, cell, .. } = slot;
    let Some(life) = life else {
        return Reached::End;
    };
    let cell: &Cell = cell;
    let until_it_stands = poll_fn(|context| match life.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(Reached::End),
        Poll::Pending if cell.parked().is_some() => Poll::Ready(Reached::Point),
        Poll::Pending => Poll::Pending,
    });
    let reached = time::timeout(ASK_AFTER, until_it_stands).await;
    reached.unwrap_or(Reached::Waiting)
}

impl Slot {
    fn settle(&self) -> impl Future<Output = ()> + Send + 'static {
        settle(self.line.pool.clone(), Arc::clone(&self.cell))
    }
}

/// Waits until the connection is back where it belongs, unless a transaction is open on it.
async fn settle(pool: sqlx::PgPool, cell: Arc<Cell>) {
    while !cell.is_open() && (pool.size() == 0 || pool.num_idle() == 0) {
        // The database may need this very processor to get on.
        std::thread::yield_now();
        task::yield_now().await;
    }
}

fn fate_of(core: &mut Core, slot: &Slot, forced: bool) -> Fate {
    let Some(parked) = slot.cell.parked() else {
        return Fate::GoOn(Verdict::GoOn);
    };
    let faults = core.faults();
    let name = slot.cell.name();
    let point = parked.point;
    let outside = matches!(slot.role, Role::Asker | Role::Operator);
    if !outside && core.rng.happens(faults.crash) {
        core.note(&format!("{name} at {point}"));
        return Fate::Crash;
    }
    let hesitates = point == "tx.commit" && faults.hesitant.is_some_and(|who| slot.role.is(who));
    if !forced && hesitates && core.rng.happens(HESITATES) {
        let length = core.rng.millis(500..=20_000);
        core.note(&format!("{name} stands at {point} for {length}"));
        return Fate::Pause(length);
    }
    if !forced && core.rng.happens(faults.pause) {
        let lengths = [2_000, 20_000, 70_000, 70_000, 200_000];
        let length = lengths[core.rng.below(lengths.len())];
        core.note(&format!("{name} stands at {point} for {length} ms"));
        return Fate::Pause(TimeDelta::milliseconds(length));
    }
    let can_refuse = matches!(
        point,
        "tx.begin" | "tx.commit" | "outbox.lease" | "outbox.settle" | "sqs.send"
    );
    let can_lose = matches!(
        point,
        "tx.commit" | "outbox.leased" | "outbox.settled" | "sqs.sent"
    );
    let (verdict, told) = if can_refuse && core.rng.happens(faults.refuse) {
        (Verdict::Refuse, " REFUSED")
    } else if can_lose && core.rng.happens(faults.lose_answer) {
        (Verdict::LoseAnswer, " ANSWER LOST")
    } else {
        (Verdict::GoOn, "")
    };
    core.note(&format!("{name} {point}{told}"));
    Fate::GoOn(verdict)
}

fn lose_a_machine(core: &mut Core) {
    let faults = core.faults();
    if !core.rng.happens(faults.machine / 10) {
        return;
    }
    let apps: Vec<String> = core.cloud.apps().into_iter().map(str::to_owned).collect();
    let place = core.rng.below(apps.len());
    let Some(app) = apps.get(place) else { return };
    core.note(&format!("the machine of {app} VANISHES"));
    core.cloud.vanish(app);
}
