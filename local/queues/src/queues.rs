//! The queues for many callers at once: one lock, a clock, a journal, and receives that wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::sync::watch;

use crate::account::Account;
use crate::actions::{self, Action, ReceiveMessage, ReceiveMessageAnswer};
use crate::clock::Clock;
use crate::dials::Dials;
use crate::journal::Journal;
use crate::refusal::Refusal;

/// The queues of one account, shared.
#[derive(Debug, Clone)]
pub struct Queues {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    /// Grows whenever a waiting receive should look again.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    account: Account,
    journal: Option<Journal>,
}

impl Queues {
    /// Queues that are gone when the process ends.
    #[must_use]
    pub fn in_memory(account: Account) -> Self {
        Self::new(account, None)
    }

    /// Queues that a journal keeps. The account is what the journal said.
    #[must_use]
    pub fn kept(account: Account, journal: Journal) -> Self {
        Self::new(account, Some(journal))
    }

    fn new(account: Account, journal: Option<Journal>) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock: Clock::default(),
                state: Mutex::new(State { account, journal }),
                changes: watch::Sender::new(0),
            }),
        }
    }

    /// Performs an action now. A receive does not wait here; see [`Queues::receive`].
    pub fn perform<A: Action + Clone>(&self, action: A) -> Result<A::Answer, Refusal> {
        let recorded = action.clone();
        let to_json = move || serde_json::to_value(&recorded).ok();
        self.change(A::NAME, to_json, |account, now| {
            account.perform(now, action)
        })
    }

    /// Performs the action of this name with its request in JSON. A receive waits.
    pub async fn perform_named(&self, name: &str, request: Value) -> Result<Value, Refusal> {
        if name == ReceiveMessage::NAME {
            let answer = self.receive(actions::parse(&request)?).await?;
            return Ok(serde_json::to_value(answer).unwrap_or_default());
        }
        let recorded = || Some(request.clone());
        self.change(name, recorded, |account, now| {
            actions::perform_named(account, now, name, &request)
        })
    }

    /// Receives, and waits as long as the request or its queue says for the first message.
    pub async fn receive(&self, request: ReceiveMessage) -> Result<ReceiveMessageAnswer, Refusal> {
        let start = self.now();
        let wait = request.wait(&mut self.lock().account)?;
        loop {
            let mut changes = self.shared.changes.subscribe();
            let answer = self.perform(request.clone())?;
            let now = self.now();
            let rest = start + wait - now;
            if !answer.messages.is_empty() || rest <= TimeDelta::zero() {
                return Ok(answer);
            }
            let shown = self.next_visible_at(&request.queue_url);
            let until_shown = shown.map_or(rest, |at| (at - now).max(TimeDelta::milliseconds(1)));
            let pause = rest.min(until_shown).to_std().unwrap_or(Duration::ZERO);
            // Either way it looks again.
            let _ = tokio::time::timeout(pause, changes.changed()).await;
        }
    }

    /// The queues' time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.shared.clock.now()
    }

    /// Sets the queues' time forward; waiting receives notice.
    pub fn advance(&self, by: TimeDelta) {
        self.shared.clock.advance(by);
        self.announce();
    }

    /// How badly standard queues behave from now on.
    pub fn set_dials(&self, dials: Dials) {
        self.lock().account.set_dials(dials);
    }

    /// Looks at the account, or injects a fault. What is changed this way is not in the journal.
    pub fn with<T>(&self, look: impl FnOnce(&mut Account, DateTime<Utc>) -> T) -> T {
        let now = self.now();
        let seen = look(&mut self.lock().account, now);
        self.announce();
        seen
    }

    /// Performs something; if it changed anything, it is written down before anyone hears of it.
    fn change<T>(
        &self,
        name: &str,
        request: impl FnOnce() -> Option<Value>,
        perform: impl FnOnce(&mut Account, DateTime<Utc>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let now = self.now();
        let mut state = self.lock();
        let before = state.account.revision();
        let answer = perform(&mut state.account, now);
        if state.account.revision() == before {
            return answer;
        }
        let State { account, journal } = &mut *state;
        if let (Some(journal), Some(request)) = (journal, request()) {
            journal.write(now, name, request, account);
        }
        drop(state);
        self.announce();
        answer
    }

    fn next_visible_at(&self, url: &str) -> Option<DateTime<Utc>> {
        let state = self.lock();
        let name = state.account.name_in(url).ok()?;
        state.account.next_visible_at(&name)
    }

    fn announce(&self) {
        self.shared
            .changes
            .send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug in a pure function; the queues are still whole messages.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
