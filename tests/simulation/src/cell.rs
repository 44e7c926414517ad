//! Where an actor stands while others run: it parks at named points and goes on when it is let go.

use std::{
    future::{Future, poll_fn},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use chrono::{DateTime, Utc};
use nightshift_domain::{Epoch, InvestigationId, SandboxId};
use nightshift_store::{Held, Probe, Verdict, plant::VOLATILE_WAKE};

use crate::{
    core::{Shared, lock},
    queues::Name,
    snapshot::Snapshot,
};

/// What an actor waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Its turn.
    Turn,
    /// A time.
    Until(DateTime<Utc>),
    /// A message it can receive.
    Message(Name),
    /// A delivery that is due.
    Delivery,
    /// Its end.
    Forever,
}

/// A point at which an actor stands.
#[derive(Debug, Clone, Copy)]
pub struct Parked {
    /// Its name.
    pub point: &'static str,
    /// Until when.
    pub wait: Wait,
}

/// The start of a sandbox that speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// For which investigation.
    pub investigation: InvestigationId,
    /// Which sandbox.
    pub sandbox: SandboxId,
    /// Which start of it.
    pub epoch: Epoch,
}

/// What a function is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Whether the step is a dispatch.
    pub dispatch: bool,
    /// Whether, when the function began, the investigation was waiting for exactly this start.
    pub speaks: bool,
}

/// Where one actor stands.
#[derive(Debug)]
pub struct Cell {
    name: String,
    core: Shared,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    parked: Option<Parked>,
    go: Option<Verdict>,
    open: usize,
    changed: bool,
    begun: Option<Arc<Snapshot>>,
    decided: Option<Arc<Snapshot>>,
    identity: Option<Identity>,
    work: Option<Work>,
}

impl Cell {
    /// The place of an actor.
    #[must_use]
    pub fn new(name: String, core: Shared) -> Arc<Self> {
        Arc::new(Self {
            name,
            core,
            state: Mutex::default(),
        })
    }

    /// The actor's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stands at a point until it is let go.
    pub fn park(&self, point: &'static str, wait: Wait) -> impl Future<Output = Verdict> + Send {
        let mut stands = false;
        poll_fn(move |_| {
            let mut state = self.state();
            if !stands {
                stands = true;
                if point == "tx.commit" {
                    state.decided = Some(Arc::clone(&lock(&self.core).snapshot));
                }
                state.parked = Some(Parked { point, wait });
                return Poll::Pending;
            }
            let Some(verdict) = state.go.take() else {
                return Poll::Pending;
            };
            if point == "tx.begin" {
                state.begun = Some(Arc::clone(&lock(&self.core).snapshot));
            }
            Poll::Ready(verdict)
        })
    }

    /// Lets the actor go on.
    pub fn release(&self, verdict: Verdict) {
        let mut state = self.state();
        if state.parked.take().is_some() {
            state.go = Some(verdict);
        }
    }

    /// Where it stands, unless it runs or has not begun.
    #[must_use]
    pub fn parked(&self) -> Option<Parked> {
        self.state().parked
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state().open > 0
    }

    /// Whether it changed the database since this was asked.
    pub fn take_changed(&self) -> bool {
        std::mem::take(&mut self.state().changed)
    }

    /// What the database was like when the last transaction began, and when it had decided.
    #[must_use]
    pub fn seen(&self) -> (Arc<Snapshot>, Arc<Snapshot>) {
        let state = self.state();
        let now = || Arc::clone(&lock(&self.core).snapshot);
        (
            state.begun.clone().unwrap_or_else(now),
            state.decided.clone().unwrap_or_else(now),
        )
    }

    /// Whose word it is that this actor brings.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.state().identity
    }

    /// From here on this actor speaks for a start.
    pub fn speak_for(&self, identity: Identity) {
        self.state().identity = Some(identity);
    }

    /// What the actor is about to do.
    #[must_use]
    pub fn work(&self) -> Option<Work> {
        self.state().work
    }

    /// Notes what the actor is about to do.
    pub fn begin_work(&self, work: Option<Work>) {
        self.state().work = work;
    }

    /// The actor is gone; what it knew is forgotten.
    pub fn forget(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe for Cell {
    fn at(&self, point: &'static str) -> Held<'_> {
        Box::pin(async move {
            if point == "outbox.settled" {
                self.state().changed = true;
            }
            self.park(point, Wait::Turn).await
        })
    }

    fn opened(&self) {
        self.state().open += 1;
    }

    fn committed(&self) {
        self.state().changed = true;
    }

    fn closed(&self) {
        let mut state = self.state();
        state.open = state.open.saturating_sub(1);
    }

    /// Nothing in the simulation waits for signals: the relays look by themselves. What was sent over
    /// nothing but a signal arrives unless signals are lost.
    fn signalled(&self, channel: &'static str) {
        let mut core = lock(&self.core);
        if channel == VOLATILE_WAKE && core.wakes() {
            core.wake();
        }
    }
}
