//! The machines as one actor reaches them: every call has two sides, and may fail on either.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use nightshift_engine::provider::{
    Answer, Inventory, MachinePlan, Made, Presence, Provider, Remains,
};
use nightshift_machines::{Failure, MachinesError};

use super::{Answered, Effect, Seen, refusal};
use crate::{
    cell::{Cell, Wait},
    core::{Shared, lock},
};

/// How often somebody who waits for a machine looks.
const LOOK: TimeDelta = TimeDelta::seconds(2);

/// The provider in the hands of one actor.
#[derive(Debug)]
pub struct Sky {
    /// Who calls.
    pub cell: Arc<Cell>,
    /// The rest of the world.
    pub core: Shared,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Unavailable,
    RateLimited,
    EffectThenTimeout,
    TimeoutThenEffect,
    HostFull,
    BadBoot,
}

impl Sky {
    async fn call(&self, app: &str, effect: Effect) -> Result<Answered, MachinesError> {
        self.cell.park("provider.call", Wait::Turn).await;
        let answer = self.take_effect(app, effect);
        self.cell.park("provider.called", Wait::Turn).await;
        answer
    }

    fn take_effect(&self, app: &str, effect: Effect) -> Result<Answered, MachinesError> {
        let mut core = lock(&self.core);
        let fault = fault(&mut core, &effect);
        core.note(&format!("  {} {app} {}", effect.name(), spelled(fault)));
        let (now, step) = (core.now, core.step);
        let bad = fault == Some(Fault::BadBoot);
        match fault {
            Some(Fault::Unavailable) => {
                let said = Failure::Answer(refusal(503, "unavailable"));
                Err(MachinesError::Unavailable(said))
            }
            Some(Fault::RateLimited) => Err(MachinesError::RateLimited(refusal(
                429,
                "rate limit exceeded",
            ))),
            Some(Fault::HostFull) => Err(MachinesError::HostFull(refusal(
                409,
                "aborted: could not reserve resource for machine: insufficient memory available",
            ))),
            Some(Fault::EffectThenTimeout) => {
                self.judge_start(&mut core, app, &effect);
                core.cloud.happen(app, &effect, bad, step)?;
                Err(timed_out())
            }
            Some(Fault::TimeoutThenEffect) => {
                let until = now + core.rng.millis(10_000..=200_000);
                core.cloud.postpone(until, app, effect);
                Err(timed_out())
            }
            Some(Fault::BadBoot) | None => {
                self.judge_start(&mut core, app, &effect);
                core.cloud.happen(app, &effect, bad, step)
            }
        }
    }

    /// I4: only the step that the investigation waits for may start a sandbox for it.
    fn judge_start(&self, core: &mut crate::core::Core, app: &str, effect: &Effect) {
        let outdated = self
            .cell
            .work()
            .is_some_and(|work| work.dispatch && !work.speaks);
        if *effect == Effect::Start && outdated {
            core.violate(&format!(
                "I4: a dispatch that nobody waits for started {app}"
            ));
        }
    }
}

fn fault(core: &mut crate::core::Core, effect: &Effect) -> Option<Fault> {
    let faults = core.faults();
    if core.rng.happens(faults.late) {
        return Some(Fault::TimeoutThenEffect);
    }
    if !core.rng.happens(faults.provider) {
        return None;
    }
    let starts = *effect == Effect::Start;
    Some(match core.rng.below(6) {
        1 => Fault::RateLimited,
        2 | 3 => Fault::EffectThenTimeout,
        4 if starts => Fault::HostFull,
        5 if starts => Fault::BadBoot,
        _ => Fault::Unavailable,
    })
}

fn spelled(fault: Option<Fault>) -> String {
    fault.map_or_else(|| "ok".to_owned(), |fault| format!("{fault:?}"))
}

fn timed_out() -> MachinesError {
    MachinesError::Ambiguous(Failure::Answer(refusal(408, "deadline_exceeded")))
}

impl Provider for Sky {
    fn make_app<'a>(&'a self, app: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.call(app, Effect::MakeApp).await.map(drop) })
    }

    fn make_volume<'a>(&'a self, app: &'a str, _: &'a str, _: u64) -> Answer<'a, String> {
        Box::pin(async move {
            match self.call(app, Effect::MakeVolume).await? {
                Answered::Volume(volume) => Ok(volume),
                Answered::Done | Answered::Machine(_) => Ok(String::new()),
            }
        })
    }

    fn make_machine<'a>(&'a self, app: &'a str, plan: &'a MachinePlan) -> Answer<'a, Made> {
        Box::pin(async move {
            let effect = Effect::MakeMachine {
                volume: plan.volume.clone(),
                image: plan.image.clone(),
                metadata: plan.metadata.clone(),
            };
            match self.call(app, effect).await? {
                Answered::Machine(made) => Ok(made),
                Answered::Done | Answered::Volume(_) => Ok(Made {
                    machine: String::new(),
                    version: String::new(),
                }),
            }
        })
    }

    fn wait_stopped<'a>(
        &'a self,
        app: &'a str,
        _: &'a str,
        patience: Duration,
    ) -> Answer<'a, Option<i32>> {
        Box::pin(async move {
            let patience = TimeDelta::from_std(patience).unwrap_or(LOOK);
            let until = lock(&self.core).now + patience;
            loop {
                self.cell.park("provider.call", Wait::Turn).await;
                let (now, seen) = {
                    let core = lock(&self.core);
                    (core.now, core.cloud.rests(app)?)
                };
                if let Seen::Still { exit } = seen {
                    return Ok(exit);
                }
                if now >= until {
                    let waited_ms = patience.num_milliseconds().unsigned_abs();
                    return Err(MachinesError::WaitTimedOut { waited_ms });
                }
                self.cell
                    .park("provider.wait", Wait::Until(now + LOOK))
                    .await;
            }
        })
    }

    fn start<'a>(&'a self, app: &'a str, _: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.call(app, Effect::Start).await.map(drop) })
    }

    fn stop<'a>(&'a self, app: &'a str, _: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.call(app, Effect::Stop).await.map(drop) })
    }

    fn remove<'a>(&'a self, app: &'a str, _: &'a Remains) -> Answer<'a, ()> {
        Box::pin(async move { self.call(app, Effect::Remove).await.map(drop) })
    }

    fn inventory(&self) -> Answer<'_, Inventory> {
        Box::pin(async move {
            self.cell.park("provider.list", Wait::Turn).await;
            let listed = self.list();
            self.cell.park("provider.listed", Wait::Turn).await;
            listed
        })
    }

    fn presence<'a>(&'a self, app: &'a str, machine: &'a str) -> Answer<'a, Presence> {
        Box::pin(async move {
            self.cell.park("provider.call", Wait::Turn).await;
            let there = lock(&self.core).cloud.machine(app) == Some(machine);
            Ok(if there {
                Presence::There
            } else {
                Presence::Gone
            })
        })
    }
}

impl Sky {
    /// A list: as old as a minute, or without the region that did not answer.
    fn list(&self) -> Result<Inventory, MachinesError> {
        let mut core = lock(&self.core);
        let faults = core.faults();
        if core.rng.happens(faults.provider) {
            let said = Failure::Answer(refusal(503, "unavailable"));
            return Err(MachinesError::Unavailable(said));
        }
        let lag = if core.rng.happens(faults.stale_lists) {
            core.rng.millis(1_000..=60_000)
        } else {
            TimeDelta::zero()
        };
        let mut listed = core.cloud.listed(core.now, lag);
        if core.rng.happens(faults.stale_lists / 4) {
            listed.silent_regions.push(crate::world::REGION.to_owned());
            listed.apps.values_mut().for_each(Vec::clear);
        }
        core.note(&format!("  listed {} apps, {lag} old", listed.apps.len()));
        Ok(listed)
    }
}
