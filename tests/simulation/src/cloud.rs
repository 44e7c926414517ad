//! The machines of a seed: they exist apart from what we know of them, and calls to them go wrong.

mod sky;

pub use sky::Sky;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_engine::provider::{Inventory, Listed, Made};
use nightshift_machines::{MachinesError, Refusal};

/// What a call changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Makes the app.
    MakeApp,
    /// Makes its volume, or finds it.
    MakeVolume,
    /// Makes its machine, or finds it.
    MakeMachine {
        /// With this volume.
        volume: String,
        /// That runs this image.
        image: String,
        /// To be found by these words.
        metadata: BTreeMap<String, String>,
    },
    /// Starts its machine.
    Start,
    /// Stops it.
    Stop,
    /// Destroys everything.
    Remove,
}

impl Effect {
    /// How the trace calls it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MakeApp => "makes app",
            Self::MakeVolume => "makes volume in",
            Self::MakeMachine { .. } => "makes machine in",
            Self::Start => "starts",
            Self::Stop => "stops",
            Self::Remove => "removes",
        }
    }
}

/// What a call answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// Nothing but that it is done.
    Done,
    /// The volume's id.
    Volume(String),
    /// The machine.
    Machine(Made),
}

/// What somebody sees who looks at a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Running,
    Still { exit: Option<i32> },
}

/// A machine that began to run for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// In which app.
    pub app: String,
    /// Which machine.
    pub machine: String,
    /// What it runs.
    pub image: String,
    /// Which boot of it.
    pub number: u32,
}

/// All machines.
#[derive(Debug, Default)]
pub struct Cloud {
    apps: BTreeMap<String, App>,
    late: Vec<(DateTime<Utc>, String, Effect)>,
    made: u32,
    lists: VecDeque<(DateTime<Utc>, Inventory)>,
    /// Machines that began to run and have no agent yet.
    pub booted: Vec<Boot>,
    /// Machines that were stopped and whose agents must end.
    pub stopped: Vec<String>,
    /// Apps whose machine vanished by itself.
    pub vanished: BTreeSet<String>,
    /// Whether anything took effect long after its call.
    pub was_late: bool,
    removed: BTreeSet<String>,
    /// Apps that were made again after they were removed: their maker stood still in between.
    pub revived: BTreeSet<String>,
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
    last_boot: usize,
    image: String,
    metadata: BTreeMap<String, String>,
}

/// Lists that are remembered, for those who are shown an old one.
const OLD_LISTS: usize = 64;

impl Cloud {
    /// Makes an effect happen. `bad` makes a proving boot fail; `step` is when.
    pub fn happen(
        &mut self,
        app: &str,
        effect: &Effect,
        bad: bool,
        step: usize,
    ) -> Result<Answered, MachinesError> {
        self.made += 1;
        let made = self.made;
        match effect {
            Effect::MakeApp => {
                if self.removed.remove(app) {
                    self.revived.insert(app.to_owned());
                }
                self.apps.entry(app.to_owned()).or_default();
                Ok(Answered::Done)
            }
            Effect::MakeVolume => {
                let found = self.apps.get_mut(app).ok_or_else(|| missing("app"))?;
                let volume = found.volume.get_or_insert_with(|| format!("vol{made}"));
                Ok(Answered::Volume(volume.clone()))
            }
            Effect::MakeMachine {
                volume,
                image,
                metadata,
            } => {
                let found = self.apps.get_mut(app).ok_or_else(|| missing("app"))?;
                if found.volume.as_deref() != Some(volume) {
                    return Err(MachinesError::VolumeGone(refusal(400, "volume not found")));
                }
                let machine = found.machine.get_or_insert_with(|| Machine {
                    id: format!("m{made}"),
                    running: false,
                    exit: None,
                    boots: 0,
                    last_boot: 0,
                    image: image.clone(),
                    metadata: metadata.clone(),
                });
                Ok(Answered::Machine(Made {
                    machine: machine.id.clone(),
                    version: "v1".to_owned(),
                }))
            }
            Effect::Start => self.start(app, bad, step),
            Effect::Stop => {
                self.stop(app);
                Ok(Answered::Done)
            }
            Effect::Remove => {
                self.stop(app);
                self.apps.remove(app);
                self.removed.insert(app.to_owned());
                Ok(Answered::Done)
            }
        }
    }

    fn start(&mut self, app: &str, bad: bool, step: usize) -> Result<Answered, MachinesError> {
        let found = self.apps.get_mut(app).ok_or_else(|| missing("app"))?;
        let machine = found.machine.as_mut().ok_or_else(|| missing("machine"))?;
        if machine.running {
            return Ok(Answered::Done);
        }
        machine.boots += 1;
        machine.last_boot = step;
        if machine.exit != Some(0) {
            // The proving boot: the supervisor checks itself and exits.
            machine.exit = Some(i32::from(bad));
            return Ok(Answered::Done);
        }
        machine.running = true;
        let boot = Boot {
            app: app.to_owned(),
            machine: machine.id.clone(),
            image: machine.image.clone(),
            number: machine.boots,
        };
        self.booted.push(boot);
        Ok(Answered::Done)
    }

    fn stop(&mut self, app: &str) {
        let machine = self.apps.get_mut(app).and_then(|app| app.machine.as_mut());
        if let Some(machine) = machine.filter(|machine| machine.running) {
            machine.running = false;
            self.stopped.push(machine.id.clone());
        }
    }

    /// The agent of a machine ended, and the machine with it.
    pub fn exit(&mut self, machine: &str) {
        let machines = self
            .apps
            .values_mut()
            .filter_map(|app| app.machine.as_mut());
        for found in machines.filter(|found| found.id == machine) {
            found.running = false;
        }
    }

    /// A machine vanishes with its host; the app stays. Its agent may live on.
    pub fn vanish(&mut self, app: &str) {
        if let Some(found) = self.apps.get_mut(app) {
            found.machine = None;
            self.vanished.insert(app.to_owned());
        }
    }

    /// Lets an effect happen later.
    pub fn postpone(&mut self, until: DateTime<Utc>, app: &str, effect: Effect) {
        self.was_late = true;
        self.late.push((until, app.to_owned(), effect));
    }

    /// Lets everything happen whose time has come.
    pub fn catch_up(&mut self, now: DateTime<Utc>, step: usize) {
        let (due, later) = self.late.drain(..).partition(|(at, ..)| *at <= now);
        self.late = later;
        for (_, app, effect) in Vec::from_iter::<Vec<_>>(due) {
            drop(self.happen(&app, &effect, false, step));
        }
    }

    /// When the next late effect happens.
    #[must_use]
    pub fn next_late(&self) -> Option<DateTime<Utc>> {
        self.late.iter().map(|(at, ..)| *at).min()
    }

    /// Remembers what there is now, for later lists.
    pub fn remember(&mut self, now: DateTime<Utc>) {
        let current = self.current();
        if self
            .lists
            .back()
            .is_some_and(|(_, known)| *known == current)
        {
            return;
        }
        self.lists.push_back((now, current));
        if self.lists.len() > OLD_LISTS {
            self.lists.pop_front();
        }
    }

    /// What a list shows that is as old as `lag`.
    #[must_use]
    pub fn listed(&self, now: DateTime<Utc>, lag: TimeDelta) -> Inventory {
        let old = self.lists.iter().rev().find(|(at, _)| now - *at >= lag);
        old.map(|(_, list)| list.clone()).unwrap_or_default()
    }

    fn current(&self) -> Inventory {
        let machines = |app: &App| {
            let listed = app.machine.iter().map(|machine| Listed {
                machine: machine.id.clone(),
                version: "v1".to_owned(),
                metadata: machine.metadata.clone(),
            });
            listed.collect()
        };
        Inventory {
            apps: self
                .apps
                .iter()
                .map(|(name, app)| (name.clone(), machines(app)))
                .collect(),
            silent_regions: Vec::new(),
        }
    }

    /// The apps that exist.
    #[must_use]
    pub fn apps(&self) -> Vec<&str> {
        self.apps.keys().map(String::as_str).collect()
    }

    /// The machine of an app.
    #[must_use]
    pub fn machine(&self, app: &str) -> Option<&str> {
        let machine = self.apps.get(app)?.machine.as_ref()?;
        Some(&machine.id)
    }

    /// Apps whose machine runs.
    #[must_use]
    pub fn running(&self) -> Vec<&str> {
        let runs = |app: &App| app.machine.as_ref().is_some_and(|machine| machine.running);
        let all = self.apps.iter().filter(|(_, app)| runs(app));
        all.map(|(name, _)| name.as_str()).collect()
    }

    /// At which step the machine of an app booted last.
    #[must_use]
    pub fn last_boot(&self, app: &str) -> Option<usize> {
        Some(self.apps.get(app)?.machine.as_ref()?.last_boot)
    }

    /// Whether the machine of an app stands still, and how its last run ended.
    pub(crate) fn rests(&self, app: &str) -> Result<Seen, MachinesError> {
        let found = self.apps.get(app).ok_or_else(|| missing("app"))?;
        let machine = found.machine.as_ref().ok_or_else(|| missing("machine"))?;
        Ok(if machine.running {
            Seen::Running
        } else {
            Seen::Still { exit: machine.exit }
        })
    }
}

pub(crate) fn refusal(status: u16, text: &str) -> Refusal {
    let body = serde_json::json!({ "error": text }).to_string();
    Refusal::read(status, body.as_bytes())
}

fn missing(what: &str) -> MachinesError {
    MachinesError::NotFound(refusal(404, &format!("not_found: {what} not found")))
}
