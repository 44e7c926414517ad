//! Where a queue's messages lie: by place, by state, by age and by group.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::message::Message;

/// A message's place in its queue. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place(pub(crate) u64);

/// Whether a message can be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// It can.
    Visible,
    /// Not yet for the first time.
    Delayed { until: DateTime<Utc> },
    /// It was received and neither deleted nor given back.
    InFlight {
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    },
}

/// A message on the shelf.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) message: Message,
    pub(crate) state: State,
    /// What the newest receipt handle carries; older ones are stale.
    pub(crate) receipt: Option<u64>,
}

/// The messages of one group, by state. A standard queue's messages without a group are one too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub(crate) visible: BTreeSet<Place>,
    pub(crate) delayed: BTreeSet<Place>,
    pub(crate) in_flight: BTreeSet<Place>,
}

/// How many messages are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Can be received.
    pub visible: usize,
    /// Received and neither deleted nor given back.
    pub in_flight: usize,
    /// Cannot be received yet.
    pub delayed: usize,
}

/// All messages of a queue.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Record", into = "Record")]
pub(crate) struct Shelf {
    next: u64,
    messages: BTreeMap<Place, Stored>,
    hidden: BTreeSet<(DateTime<Utc>, Place)>,
    ages: BTreeSet<(DateTime<Utc>, Place)>,
    groups: BTreeMap<Option<String>, Group>,
    counts: Counts,
}

impl Shelf {
    /// An empty one whose first place is this.
    pub(crate) fn starting_at(place: Place) -> Self {
        Self {
            next: place.0,
            ..Self::default()
        }
    }

    /// The place after the last one.
    pub(crate) fn end(&self) -> Place {
        Place(self.next)
    }

    /// Puts a message at the end.
    pub(crate) fn insert(&mut self, stored: Stored) -> Place {
        let place = Place(self.next);
        self.next += 1;
        self.put(place, stored);
        place
    }

    pub(crate) fn at(&self, place: Place) -> Option<&Stored> {
        self.messages.get(&place)
    }

    /// Takes a message off the shelf.
    pub(crate) fn remove(&mut self, place: Place) -> Option<Stored> {
        let stored = self.messages.remove(&place)?;
        self.leave(place, &stored);
        self.ages.remove(&(stored.message.sent_at, place));
        Some(stored)
    }

    /// Changes what can change: the state, the receipt and the counts of receives.
    pub(crate) fn change(&mut self, place: Place, change: impl FnOnce(&mut Stored)) {
        let Some(mut stored) = self.messages.remove(&place) else {
            return;
        };
        self.leave(place, &stored);
        self.ages.remove(&(stored.message.sent_at, place));
        change(&mut stored);
        self.put(place, stored);
    }

    /// Shows what was hidden until now.
    pub(crate) fn wake(&mut self, now: DateTime<Utc>) {
        while let Some(&(until, place)) = self.hidden.first()
            && until <= now
        {
            self.change(place, |stored| stored.state = State::Visible);
        }
    }

    /// Drops what was sent at this time or before.
    pub(crate) fn expire(&mut self, sent_until: DateTime<Utc>) {
        while let Some(&(sent_at, place)) = self.ages.first()
            && sent_at <= sent_until
        {
            self.remove(place);
        }
    }

    /// When the next hidden message shows.
    pub(crate) fn next_wake(&self) -> Option<DateTime<Utc>> {
        self.hidden.first().map(|(until, _)| *until)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (Option<&str>, &Group)> {
        self.groups
            .iter()
            .map(|(name, group)| (name.as_deref(), group))
    }

    pub(crate) fn group(&self, name: Option<&str>) -> Option<&Group> {
        // A map of options cannot be asked with a borrowed name.
        self.groups.get(&name.map(str::to_owned))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, &Stored)> {
        self.messages.iter().map(|(place, stored)| (*place, stored))
    }

    /// The place of the message that `ahead` others precede.
    pub(crate) fn place_after(&self, ahead: usize) -> Option<Place> {
        if self.messages.len() <= ahead {
            return None;
        }
        self.messages.keys().nth(ahead).copied()
    }

    fn put(&mut self, place: Place, stored: Stored) {
        let group = self
            .groups
            .entry(stored.message.content.group.clone())
            .or_default();
        match stored.state {
            State::Visible => {
                self.counts.visible += 1;
                group.visible.insert(place);
            }
            State::Delayed { until } => {
                self.counts.delayed += 1;
                group.delayed.insert(place);
                self.hidden.insert((until, place));
            }
            State::InFlight { until, .. } => {
                self.counts.in_flight += 1;
                group.in_flight.insert(place);
                self.hidden.insert((until, place));
            }
        }
        self.ages.insert((stored.message.sent_at, place));
        self.messages.insert(place, stored);
    }

    fn leave(&mut self, place: Place, stored: &Stored) {
        let name = &stored.message.content.group;
        if let Some(group) = self.groups.get_mut(name) {
            group.visible.remove(&place);
            group.delayed.remove(&place);
            group.in_flight.remove(&place);
            if group.is_empty() {
                self.groups.remove(name);
            }
        }
        match stored.state {
            State::Visible => self.counts.visible -= 1,
            State::Delayed { until } => {
                self.counts.delayed -= 1;
                self.hidden.remove(&(until, place));
            }
            State::InFlight { until, .. } => {
                self.counts.in_flight -= 1;
                self.hidden.remove(&(until, place));
            }
        }
    }
}

impl Group {
    /// On a FIFO queue: its first message, unless one of the group is in flight or the first one
    /// is still delayed.
    pub(crate) fn head(&self) -> Option<Place> {
        let first = *self.visible.first()?;
        let waits = self.delayed.first().is_some_and(|delayed| *delayed < first);
        (self.in_flight.is_empty() && !waits).then_some(first)
    }

    fn is_empty(&self) -> bool {
        self.visible.is_empty() && self.delayed.is_empty() && self.in_flight.is_empty()
    }
}

/// What is kept of a shelf; the rest follows from it.
#[derive(Serialize, Deserialize)]
struct Record {
    next: u64,
    messages: Vec<(Place, Stored)>,
}

impl From<Record> for Shelf {
    fn from(record: Record) -> Self {
        let mut shelf = Self {
            next: record.next,
            ..Self::default()
        };
        for (place, stored) in record.messages {
            shelf.put(place, stored);
        }
        shelf
    }
}

impl From<Shelf> for Record {
    fn from(shelf: Shelf) -> Self {
        Self {
            next: shelf.next,
            messages: shelf.messages.into_iter().collect(),
        }
    }
}
