//! One queue: its settings, its messages, and what it remembers about those it had.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::actions::SendMessageAnswer;
use crate::limits;
use crate::message::{Content, Message};
use crate::receipt::Receipt;
use crate::settings::Settings;
use crate::shelf::{Place, Shelf, State, Stored};

/// One queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) modified_at: DateTime<Utc>,
    pub(crate) settings: Settings,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) shelf: Shelf,
    pub(crate) purged_at: Option<DateTime<Utc>>,
    /// FIFO: what was accepted lately, by what makes a message the same.
    accepted: BTreeMap<String, SendMessageAnswer>,
    /// The same in the order of their acceptance.
    acceptances: VecDeque<(DateTime<Utc>, String)>,
    /// FIFO: what was received lately, by the receiver's attempt id.
    attempts: BTreeMap<String, Attempt>,
    sequence: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Attempt {
    at: DateTime<Utc>,
    received: Vec<(Place, u64)>,
}

impl Queue {
    pub(crate) fn new(name: String, settings: Settings, now: DateTime<Utc>) -> Self {
        Self {
            name,
            created_at: now,
            modified_at: now,
            settings,
            tags: BTreeMap::new(),
            shelf: Shelf::default(),
            purged_at: None,
            accepted: BTreeMap::new(),
            acceptances: VecDeque::new(),
            attempts: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn is_fifo(&self) -> bool {
        self.settings.fifo.is_some()
    }

    /// Lets happen what time alone makes happen.
    pub(crate) fn settle(&mut self, now: DateTime<Utc>) {
        self.shelf.wake(now);
        self.shelf.expire(now - self.settings.retention());
        let is_recent = |at: DateTime<Utc>| now - at < limits::DEDUPLICATION;
        while let Some((at, key)) = self.acceptances.front()
            && !is_recent(*at)
        {
            self.accepted.remove(key);
            self.acceptances.pop_front();
        }
        self.attempts.retain(|_, attempt| is_recent(attempt.at));
    }

    /// What the queue answered when it accepted the same message within the last five minutes,
    /// received and deleted or not.
    pub(crate) fn accepted_before(&self, content: &Content) -> Option<SendMessageAnswer> {
        let key = self.sameness(content)?;
        self.accepted.get(&key).cloned()
    }

    pub(crate) fn remember(
        &mut self,
        content: &Content,
        answer: &SendMessageAnswer,
        now: DateTime<Utc>,
    ) {
        if let Some(key) = self.sameness(content) {
            self.acceptances.push_back((now, key.clone()));
            self.accepted.insert(key, answer.clone());
        }
    }

    /// What makes two messages the same: the deduplication id, within the queue or the group.
    fn sameness(&self, content: &Content) -> Option<String> {
        let id = content.deduplication.as_deref()?;
        let per_group = self.settings.fifo?.deduplication_per_group;
        let group = content.group.as_deref().filter(|_| per_group);
        Some(format!("{}\n{id}", group.unwrap_or_default()))
    }

    /// The next sequence number of a FIFO queue.
    pub(crate) fn next_sequence(&mut self) -> Option<u64> {
        self.settings.fifo?;
        self.sequence += 1;
        Some(self.sequence)
    }

    /// Puts a new message in, hidden until its delay is over.
    pub(crate) fn put(
        &mut self,
        message: Message,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Place {
        let state = if until > now {
            State::Delayed { until }
        } else {
            State::Visible
        };
        self.shelf.insert(Stored {
            message,
            state,
            receipt: None,
        })
    }

    /// Takes in what another queue gave up. A FIFO queue counts its age from now, a standard queue
    /// from when it was first sent.
    pub(crate) fn bury(&mut self, mut message: Message, source: &str, now: DateTime<Utc>) {
        message.dead_from = Some(source.to_owned());
        message.sequence = self.next_sequence();
        if self.is_fifo() {
            message.sent_at = now;
        }
        self.put(message, now, now);
    }

    /// FIFO: a changed delay holds for messages that wait already.
    pub(crate) fn delay_again(&mut self, now: DateTime<Utc>) {
        let waiting: Vec<_> = self
            .shelf
            .iter()
            .filter(|(_, stored)| matches!(stored.state, State::Delayed { .. }))
            .map(|(place, stored)| (place, stored.message.sent_at + self.settings.delay()))
            .collect();
        for (place, until) in waiting {
            self.shelf
                .change(place, |stored| stored.state = State::Delayed { until });
        }
        self.shelf.wake(now);
    }

    /// FIFO: keeps what an attempt received, for the attempt's repetition.
    pub(crate) fn remember_attempt(&mut self, id: &str, received: &[Receipt], now: DateTime<Utc>) {
        let received = received
            .iter()
            .map(|receipt| (receipt.place, receipt.number))
            .collect();
        self.attempts
            .insert(id.to_owned(), Attempt { at: now, received });
    }

    /// FIFO: what the attempt received before, if all of it is still in flight under the same
    /// receipts. It is then hidden anew.
    pub(crate) fn repeat_attempt(
        &mut self,
        id: &str,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<Vec<Receipt>> {
        let attempt = self.attempts.get(id)?;
        let receipts: Vec<_> = attempt
            .received
            .iter()
            .map(|&(place, number)| Receipt { place, number })
            .collect();
        let untouched = |receipt: &Receipt| {
            self.shelf.at(receipt.place).is_some_and(|stored| {
                stored.receipt == Some(receipt.number)
                    && matches!(stored.state, State::InFlight { .. })
            })
        };
        if receipts.is_empty() || !receipts.iter().all(untouched) {
            return None;
        }
        for receipt in &receipts {
            self.shelf.change(receipt.place, |stored| {
                stored.state = State::InFlight { since: now, until };
            });
        }
        Some(receipts)
    }
}
