//! What all actors of one seed share: the time, chance, the queues, the machines, and the record.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::{Epoch, PoolId, SandboxId, TenantId};
use nightshift_protocol::{Envelope, Step};
use nightshift_store::Endpoint;

use crate::{
    cloud::Cloud,
    queues::{Name, Queues},
    rng::Rng,
    scenario::{Faults, Scenario},
    snapshot::Snapshot,
    trace::Trace,
};

/// What all actors of one seed share.
#[derive(Debug)]
pub struct Core {
    /// The time.
    pub now: DateTime<Utc>,
    /// How often an actor was let go.
    pub step: usize,
    /// Chance.
    pub rng: Rng,
    /// The record.
    pub trace: Trace,
    /// What the seed stands for.
    pub scenario: Arc<Scenario>,
    /// Whether nothing goes wrong any more.
    pub calm: bool,
    /// Whether the sweep runs; without it nothing but the steps themselves brings work on.
    pub net: bool,
    /// The queues.
    pub queues: Queues,
    /// The machines.
    pub cloud: Cloud,
    /// When it began.
    pub began: DateTime<Utc>,
    /// Which deliveries were answered, by their place in the scenario.
    pub answered: Vec<bool>,
    /// Questions that nobody asked yet.
    pub questions: usize,
    /// What receivers of reports were brought, by the parcel's identity.
    pub parcels: BTreeMap<String, Vec<u8>>,
    /// Which starts got their tokens.
    pub admitted: BTreeSet<(SandboxId, Epoch)>,
    /// The database after the last commit.
    pub snapshot: Arc<Snapshot>,
    /// The most that should have been ready at any time, beside those for whoever waits.
    pub most_wanted: usize,
    /// The tenants' endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The pool.
    pub pool: Option<PoolId>,
    /// What must not happen and did.
    pub violations: Vec<String>,
    /// Processes that were killed.
    pub crashes: u64,
    /// Statements that name machines so far; each is used once.
    pub statements: u64,
}

/// The core, in every actor's hands.
pub type Shared = Arc<Mutex<Core>>;

/// Looks into the core. Never across an `await`.
pub fn lock(core: &Shared) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// The core of `seed` before anything happened.
    #[must_use]
    pub fn of(seed: u64, keep_trace: bool) -> Self {
        let scenario = Arc::new(Scenario::of(seed));
        let began = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        Self {
            now: began,
            began,
            step: 0,
            rng: Rng::of(seed),
            trace: Trace::new(keep_trace),
            calm: false,
            net: !scenario.faults.no_sweep,
            queues: Queues::default(),
            cloud: Cloud::default(),
            answered: vec![false; scenario.deliveries.len()],
            questions: scenario.questions,
            parcels: BTreeMap::new(),
            admitted: BTreeSet::new(),
            snapshot: Arc::default(),
            most_wanted: usize::try_from(scenario.target_ready).unwrap_or_default(),
            endpoints: Vec::new(),
            pool: None,
            violations: Vec::new(),
            crashes: 0,
            statements: 0,
            scenario,
        }
    }

    /// Notes a line with the step and the time in front.
    pub fn note(&mut self, line: &str) {
        let after = (self.now - self.began).num_milliseconds();
        let step = self.step;
        self.trace.note(&format!("{step:>5} {after:>9} {line}"));
    }

    /// Notes something that must not happen.
    pub fn violate(&mut self, what: &str) {
        let what = self.trace.shorten(what);
        self.note(&format!("VIOLATION {what}"));
        self.violations.push(what);
    }

    /// The faults of now: none once it is calm.
    #[must_use]
    pub fn faults(&self) -> Faults {
        if self.calm {
            Faults::default()
        } else {
            self.scenario.faults.clone()
        }
    }

    /// Whether functions publish what they wrote.
    #[must_use]
    pub fn wakes(&self) -> bool {
        let after = self.scenario.faults.no_wakes_after;
        self.calm || after.is_none_or(|after| self.step <= after)
    }

    /// Whether the previous version still writes the messages.
    #[must_use]
    pub fn writes_old_messages(&self) -> bool {
        !self.calm && self.step < self.scenario.faults.old_messages_until
    }

    /// Deliveries that are due and not answered.
    #[must_use]
    pub fn due_deliveries(&self) -> Vec<usize> {
        let due = |index: &usize| {
            let delivery = self.scenario.deliveries.get(*index);
            delivery.is_some_and(|delivery| self.began + delivery.after <= self.now)
        };
        self.open_deliveries().filter(due).collect()
    }

    /// When the next delivery is due, if one is open.
    #[must_use]
    pub fn next_delivery(&self) -> Option<DateTime<Utc>> {
        self.open_deliveries()
            .filter_map(|index| self.scenario.deliveries.get(index))
            .map(|delivery| self.began + delivery.after)
            .min()
    }

    fn open_deliveries(&self) -> impl Iterator<Item = usize> {
        (0..self.answered.len()).filter(|index| self.answered.get(*index) == Some(&false))
    }

    /// A tenant's limit of sandboxes.
    #[must_use]
    pub fn limit_of(&self, tenant: TenantId) -> usize {
        let place = |endpoint: &Endpoint| endpoint.tenant == tenant;
        let index = self.endpoints.iter().position(place).unwrap_or_default();
        let limit = self.scenario.max_running.get(index).copied();
        limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or_default()
    }

    /// Wakes the coordinator past the outbox, as a planted bug does.
    pub fn wake(&mut self) {
        let Some(pool) = self.pool else { return };
        let envelope = Envelope::new(Step::ClaimWake { pool }, None);
        let Ok(body) = serde_json::to_value(envelope) else {
            return;
        };
        let unique = format!("past the outbox at {}", self.step);
        let now = self.now;
        self.note("  wakes past the outbox");
        self.queues
            .send(Name::Claim, &pool.to_string(), &unique, body, now);
    }

    /// When a queue has something for a receiver.
    #[must_use]
    pub fn next_message(&self, queue: Name) -> Option<DateTime<Utc>> {
        self.queues.next_visible(queue, self.now)
    }
}
