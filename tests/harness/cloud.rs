//! A provider in memory that refuses what the real one refuses and can be told to fail.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nightshift_engine::provider::{
    Answer, Inventory, Listed, MachinePlan, Made, Presence, Provider, Remains,
};
use nightshift_machines::{Failure, MachinesError, Refusal};

/// How the next call of one kind goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Refused with 429; nothing happens.
    RateLimited,
    /// Refused with 429 and so many seconds to wait; nothing happens.
    RateLimitedFor(u64),
    /// No host of the region has room.
    RegionFull,
    /// It takes effect and the answer is lost.
    EffectThenTimeout,
    /// The host has no room.
    HostFull,
    /// The proving boot exits with this code.
    BadBoot(i32),
}

/// A provider in memory.
#[derive(Debug, Clone, Default)]
pub struct Cloud(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    apps: BTreeMap<String, App>,
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    calls: Vec<String>,
    made: u32,
    machines: usize,
    /// What lists show for as long as they lag.
    lagging: Option<Inventory>,
    silent_regions: Vec<String>,
}

#[derive(Debug, Default)]
struct App {
    volume: Option<String>,
    machine: Option<Machine>,
}

#[derive(Debug)]
struct Machine {
    id: String,
    running: bool,
    exit: Option<i32>,
    boots: u32,
    plan: MachinePlan,
}

impl Cloud {
    /// Makes the next call of `operation` go wrong.
    pub fn fail(&self, operation: &'static str, fault: Fault) {
        self.state()
            .faults
            .entry(operation)
            .or_default()
            .push_back(fault);
    }

    /// Apps that exist.
    #[must_use]
    pub fn apps(&self) -> Vec<String> {
        self.state().apps.keys().cloned().collect()
    }

    /// Calls so far, as `operation app`.
    #[must_use]
    pub fn calls(&self, operation: &str) -> usize {
        let prefix = format!("{operation} ");
        self.state()
            .calls
            .iter()
            .filter(|call| call.starts_with(&prefix))
            .count()
    }

    /// Machines that were ever made, by calls and not by [`Cloud::plant`].
    #[must_use]
    pub fn machines_made(&self) -> usize {
        self.state().machines
    }

    /// Apps whose machine runs.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        let running = |app: &App| app.machine.as_ref().is_some_and(|machine| machine.running);
        let state = self.state();
        state
            .apps
            .iter()
            .filter(|(_, app)| running(app))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Lists show from here on what there is now, whatever happens.
    pub fn lag(&self) {
        let mut state = self.state();
        state.lagging = Some(state.listed());
    }

    /// Lists show what there is again.
    pub fn catch_up(&self) {
        self.state().lagging = None;
    }

    /// Lists lack these regions, and say so.
    pub fn silence(&self, regions: &[&str]) {
        self.state().silent_regions = regions.iter().map(ToString::to_string).collect();
    }

    /// An app with one machine that nobody made here.
    pub fn plant(&self, app: &str, metadata: &[(&str, &str)]) {
        let word = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let machine = Machine {
            id: format!("planted-{app}"),
            running: true,
            exit: None,
            boots: 1,
            plan: MachinePlan {
                region: "local".to_owned(),
                image: "somebody's".to_owned(),
                volume: String::new(),
                env: BTreeMap::new(),
                metadata: metadata.iter().map(word).collect(),
            },
        };
        let planted = App {
            volume: None,
            machine: Some(machine),
        };
        self.state().apps.insert(app.to_owned(), planted);
    }

    /// An app is gone, with what is in it.
    pub fn uproot(&self, app: &str) {
        self.state().apps.remove(app);
    }

    /// What the machine of an app was made from.
    #[must_use]
    pub fn plan(&self, app: &str) -> Option<MachinePlan> {
        let state = self.state();
        let machine = state.apps.get(app)?.machine.as_ref()?;
        Some(machine.plan.clone())
    }

    /// The machine of an app disappears, as when its host dies.
    pub fn lose_machine(&self, app: &str) {
        if let Some(app) = self.state().apps.get_mut(app) {
            app.machine = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T>(
        &self,
        operation: &'static str,
        app: &str,
        effect: impl FnOnce(&mut State, Option<Fault>) -> Result<T, MachinesError>,
    ) -> Result<T, MachinesError> {
        let mut state = self.state();
        state.calls.push(format!("{operation} {app}"));
        let fault = state
            .faults
            .get_mut(operation)
            .and_then(VecDeque::pop_front);
        match fault {
            Some(Fault::RateLimited) => Err(MachinesError::RateLimited(refusal(
                429,
                "rate limit exceeded",
            ))),
            Some(Fault::RateLimitedFor(seconds)) => {
                let mut refused = refusal(429, "rate limit exceeded");
                refused.retry_after = Some(Duration::from_secs(seconds));
                Err(MachinesError::RateLimited(refused))
            }
            Some(Fault::RegionFull) => Err(MachinesError::RegionFull(refusal(
                422,
                "could not find a candidate host",
            ))),
            Some(Fault::HostFull) => Err(MachinesError::HostFull(refusal(
                409,
                "aborted: could not reserve resource for machine: insufficient memory available",
            ))),
            Some(Fault::EffectThenTimeout) => {
                effect(&mut state, fault)?;
                let lost = Failure::Answer(refusal(408, "deadline_exceeded"));
                Err(MachinesError::Ambiguous(lost))
            }
            Some(Fault::BadBoot(_)) | None => effect(&mut state, fault),
        }
    }
}

fn refusal(status: u16, text: &str) -> Refusal {
    Refusal::read(
        status,
        serde_json::json!({ "error": text }).to_string().as_bytes(),
    )
}

fn missing(what: &str) -> MachinesError {
    MachinesError::NotFound(refusal(404, &format!("not_found: {what} not found")))
}

impl Provider for Cloud {
    fn make_app<'a>(&'a self, app: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.call("make_app", app, |state, _| {
                state.apps.entry(app.to_owned()).or_default();
                Ok(())
            })
        })
    }

    fn make_volume<'a>(&'a self, app: &'a str, _: &'a str, _: u64) -> Answer<'a, String> {
        Box::pin(async move {
            self.call("make_volume", app, |state, _| {
                state.made += 1;
                let fresh = format!("vol_{}", state.made);
                let found = state.apps.get_mut(app).ok_or_else(|| missing("app"))?;
                Ok(found.volume.get_or_insert(fresh).clone())
            })
        })
    }

    fn make_machine<'a>(&'a self, app: &'a str, plan: &'a MachinePlan) -> Answer<'a, Made> {
        Box::pin(async move {
            self.call("make_machine", app, |state, _| {
                state.made += 1;
                let id = format!("m{}", state.made);
                let found = state.apps.get_mut(app).ok_or_else(|| missing("app"))?;
                if found.volume.as_deref() != Some(plan.volume.as_str()) {
                    return Err(MachinesError::VolumeGone(refusal(400, "volume not found")));
                }
                let fresh = Machine {
                    id,
                    running: false,
                    exit: None,
                    boots: 0,
                    plan: plan.clone(),
                };
                state.machines += usize::from(found.machine.is_none());
                let machine = found.machine.get_or_insert(fresh);
                Ok(Made {
                    machine: machine.id.clone(),
                    version: "v1".to_owned(),
                })
            })
        })
    }

    fn wait_stopped<'a>(
        &'a self,
        app: &'a str,
        _: &'a str,
        _: Duration,
    ) -> Answer<'a, Option<i32>> {
        Box::pin(async move {
            self.call("wait_stopped", app, |state, _| {
                let found = state.apps.get(app).ok_or_else(|| missing("app"))?;
                let machine = found.machine.as_ref().ok_or_else(|| missing("machine"))?;
                if machine.running {
                    return Err(MachinesError::WaitTimedOut { waited_ms: 1 });
                }
                Ok(machine.exit)
            })
        })
    }

    fn start<'a>(&'a self, app: &'a str, _: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.call("start", app, |state, fault| {
                let found = state.apps.get_mut(app).ok_or_else(|| missing("app"))?;
                let machine = found.machine.as_mut().ok_or_else(|| missing("machine"))?;
                machine.boots += 1;
                if machine.boots == 1 {
                    // The proving boot: the supervisor checks itself and exits.
                    machine.exit = Some(match fault {
                        Some(Fault::BadBoot(code)) => code,
                        _ => 0,
                    });
                } else {
                    machine.running = true;
                }
                Ok(())
            })
        })
    }

    fn stop<'a>(&'a self, app: &'a str, _: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.call("stop", app, |state, _| {
                if let Some(machine) = state.apps.get_mut(app).and_then(|app| app.machine.as_mut())
                {
                    machine.running = false;
                }
                Ok(())
            })
        })
    }

    fn remove<'a>(&'a self, app: &'a str, _: &'a Remains) -> Answer<'a, ()> {
        Box::pin(async move {
            self.call("remove", app, |state, _| {
                state.apps.remove(app);
                Ok(())
            })
        })
    }

    fn inventory(&self) -> Answer<'_, Inventory> {
        Box::pin(async move {
            self.call("inventory", "", |state, _| {
                let mut listed = state.lagging.clone().unwrap_or_else(|| state.listed());
                listed.silent_regions.clone_from(&state.silent_regions);
                if !listed.silent_regions.is_empty() {
                    // Apps are listed wherever their machines are.
                    listed.apps.values_mut().for_each(Vec::clear);
                }
                Ok(listed)
            })
        })
    }

    fn presence<'a>(&'a self, app: &'a str, machine: &'a str) -> Answer<'a, Presence> {
        Box::pin(async move {
            self.call("presence", app, |state, _| {
                let found = state.apps.get(app).and_then(|app| app.machine.as_ref());
                Ok(match found {
                    Some(found) if found.id == machine => Presence::There,
                    Some(_) | None => Presence::Gone,
                })
            })
        })
    }
}

impl State {
    fn listed(&self) -> Inventory {
        let machine = |machine: &Machine| Listed {
            machine: machine.id.clone(),
            version: "v1".to_owned(),
            metadata: machine.plan.metadata.clone(),
        };
        let apps = self.apps.iter();
        Inventory {
            apps: apps
                .map(|(name, app)| (name.clone(), app.machine.iter().map(machine).collect()))
                .collect(),
            silent_regions: Vec::new(),
        }
    }
}
