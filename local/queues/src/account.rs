//! The queues of one account. It takes the time as an argument and does no I/O; with the same seed
//! and the same calls at the same times it gives the same answers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::actions::Action;
use crate::deliver::{Taken, Wish};
use crate::dials::Dials;
use crate::luck::Luck;
use crate::moves::Move;
use crate::queue::Queue;
use crate::refusal::Refusal;
use crate::shelf::{Counts, State};

/// Who the account is: what URLs and ARNs are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Twelve digits.
    pub account: String,
    /// For ARNs.
    pub region: String,
    /// What queue URLs begin with, without a slash at the end. Requests may use any.
    pub endpoint: String,
}

/// The queues of one account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    pub(crate) identity: Identity,
    pub(crate) queues: BTreeMap<String, Queue>,
    /// When queues were deleted: their names rest for a while.
    pub(crate) deleted: BTreeMap<String, DateTime<Utc>>,
    pub(crate) moves: Vec<Move>,
    pub(crate) luck: Luck,
    now: DateTime<Utc>,
    #[serde(skip)]
    touches: u64,
}

impl Account {
    /// An account without queues.
    #[must_use]
    pub fn new(identity: Identity, seed: u64, dials: Dials) -> Self {
        Self {
            identity,
            queues: BTreeMap::new(),
            deleted: BTreeMap::new(),
            moves: Vec::new(),
            luck: Luck::new(seed, dials),
            now: DateTime::UNIX_EPOCH,
            touches: 0,
        }
    }

    /// Performs one action at a time. Time does not run backwards: an earlier one counts as the
    /// latest seen. A refused action changed nothing.
    pub fn perform<A: Action>(
        &mut self,
        now: DateTime<Utc>,
        action: A,
    ) -> Result<A::Answer, Refusal> {
        self.tick(now);
        action.perform(self)
    }

    /// Grows whenever something changed that time alone would not have changed.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.touches + self.luck.draws
    }

    /// How badly standard queues behave from now on.
    pub fn set_dials(&mut self, dials: Dials) {
        self.luck.dials = dials;
    }

    /// Makes what follows depend on a seed that is kept with the account.
    pub(crate) fn reseed(&mut self) {
        self.luck.reseed();
    }

    /// The URL of a queue of this name, whether or not there is one.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!(
            "{}/{}/{name}",
            self.identity.endpoint, self.identity.account
        )
    }

    /// The ARN of a queue of this name, whether or not there is one.
    #[must_use]
    pub fn arn(&self, name: &str) -> String {
        format!(
            "arn:aws:sqs:{}:{}:{name}",
            self.identity.region, self.identity.account
        )
    }

    /// The names of all queues.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.queues.keys().map(String::as_str)
    }

    /// How many messages a queue holds, exactly; none where there is no such queue.
    pub fn counts(&mut self, name: &str, now: DateTime<Utc>) -> Option<Counts> {
        self.tick(now);
        let now = self.now;
        let queue = self.queues.get_mut(name)?;
        queue.settle(now);
        Some(queue.shelf.counts())
    }

    /// The bodies of all messages of a queue in the order of their places, whatever their state.
    pub fn bodies(&mut self, name: &str, now: DateTime<Utc>) -> Vec<String> {
        self.tick(now);
        let now = self.now;
        let Some(queue) = self.queues.get_mut(name) else {
            return Vec::new();
        };
        queue.settle(now);
        queue
            .shelf
            .iter()
            .map(|(_, stored)| stored.message.content.body.clone())
            .collect()
    }

    /// When the next hidden message of a queue shows by itself.
    #[must_use]
    pub fn next_visible_at(&self, name: &str) -> Option<DateTime<Utc>> {
        self.queues.get(name)?.shelf.next_wake()
    }

    /// A fault: all messages of a queue that are in flight become visible at once, as if their
    /// receivers had been too slow. Returns how many. Allowed by AWS on every queue.
    pub fn expire_in_flight(&mut self, name: &str) -> usize {
        self.touch();
        let Some(queue) = self.queues.get_mut(name) else {
            return 0;
        };
        let in_flight: Vec<_> = queue
            .shelf
            .iter()
            .filter(|(_, stored)| matches!(stored.state, State::InFlight { .. }))
            .map(|(place, _)| place)
            .collect();
        for place in &in_flight {
            queue
                .shelf
                .change(*place, |stored| stored.state = State::Visible);
        }
        in_flight.len()
    }

    /// A fault: every copy of a message comes once more. Returns whether there was one; a FIFO
    /// queue never does this.
    pub fn duplicate(&mut self, name: &str, message_id: &str) -> bool {
        self.touch();
        let Some(queue) = self.queues.get_mut(name).filter(|queue| !queue.is_fifo()) else {
            return false;
        };
        let copies: Vec<_> = queue
            .shelf
            .iter()
            .filter(|(_, stored)| stored.message.id == message_id)
            .map(|(place, _)| place)
            .collect();
        for place in &copies {
            queue.duplicate(*place);
        }
        !copies.is_empty()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    pub(crate) fn touch(&mut self) {
        self.touches += 1;
    }

    /// The name in a queue's URL. The host does not matter: the same queue is reached under many.
    pub(crate) fn name_in(&self, url: &str) -> Result<String, Refusal> {
        let path = url.split_once("://").map_or(url, |(_, rest)| rest);
        let mut parts = path.split('/').skip(1);
        let (account, name) = (parts.next(), parts.next());
        match (account, name, parts.next()) {
            (Some(account), Some(name), None) if account == self.identity.account => {
                Ok(name.to_owned())
            }
            (_, _, _) => Err(Refusal::no_queue()),
        }
    }

    /// The name in an ARN, if it is one of a queue of this account that exists.
    pub(crate) fn name_of_arn<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let name = arn.strip_prefix(&self.arn(""))?;
        self.queues.contains_key(name).then_some(name)
    }

    /// The names of the queues whose dead-letter queue this one is.
    pub(crate) fn sources_of(&self, target: &str) -> impl Iterator<Item = &str> {
        let arn = self.arn(target);
        self.queues.values().filter_map(move |queue| {
            let policy = queue.settings.redrive.as_ref()?;
            (policy.dead_letter_target_arn == arn).then_some(queue.name.as_str())
        })
    }

    /// The queue at a URL, as it is now.
    pub(crate) fn queue(&mut self, url: &str) -> Result<&mut Queue, Refusal> {
        let name = self.name_in(url)?;
        let now = self.now;
        let queue = self.queues.get_mut(&name).ok_or_else(Refusal::no_queue)?;
        queue.settle(now);
        Ok(queue)
    }

    /// The queue at a URL, to be changed.
    pub(crate) fn queue_to_change(&mut self, url: &str) -> Result<&mut Queue, Refusal> {
        self.touch();
        self.queue(url)
    }

    /// Takes messages from a queue and puts those it gives up into its dead-letter queue.
    pub(crate) fn take(&mut self, name: &str, wish: Wish) -> Taken {
        let target = self.dead_letter_queue(name);
        let now = self.now;
        let Some(queue) = self.queues.get_mut(name) else {
            return Taken::default();
        };
        let give_up_after = target.as_ref().map(|(_, count)| *count);
        let mut taken = queue.take(
            Wish {
                give_up_after,
                ..wish
            },
            &mut self.luck,
            now,
        );
        if !taken.given_up.is_empty() {
            self.touch();
        }
        if let Some(queue) = target.and_then(|(target, _)| self.queues.get_mut(&target)) {
            for message in taken.given_up.drain(..) {
                queue.bury(message, name, now);
            }
        }
        taken
    }

    /// Where a queue gives messages up to, while that queue exists, and after how many receives.
    fn dead_letter_queue(&self, name: &str) -> Option<(String, u32)> {
        let policy = self.queues.get(name)?.settings.redrive.as_ref()?;
        let target = self.name_of_arn(&policy.dead_letter_target_arn)?;
        Some((target.to_owned(), policy.max_receive_count))
    }

    fn tick(&mut self, now: DateTime<Utc>) {
        self.now = self.now.max(now);
        self.run_moves();
    }
}
