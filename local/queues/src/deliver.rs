//! Which messages a receive gets: any order and perhaps twice from a standard queue, the order of
//! the group and one holder at a time from a FIFO queue.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::limits;
use crate::luck::Luck;
use crate::message::Message;
use crate::queue::Queue;
use crate::receipt::Receipt;
use crate::shelf::{Group, Place, State, Stored};

/// What a receiver asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// Messages at most.
    pub(crate) most: usize,
    /// How long they shall stay hidden.
    pub(crate) visibility: TimeDelta,
    /// Whether only some of the servers are asked.
    pub(crate) is_short: bool,
    /// After how many receives a message is given up, where there is a queue for such.
    pub(crate) give_up_after: Option<u32>,
}

/// What a receive took from a queue.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) received: Vec<Receipt>,
    /// Messages that were received too often; they are off the shelf.
    pub(crate) given_up: Vec<Message>,
}

impl Queue {
    /// Takes messages for one receive.
    pub(crate) fn take(&mut self, wish: Wish, luck: &mut Luck, now: DateTime<Utc>) -> Taken {
        let room = limits::IN_FLIGHT.saturating_sub(self.shelf.counts().in_flight);
        let mut pass = Pass {
            end: self.shelf.end(),
            horizon: self.horizon(),
            seen: BTreeSet::new(),
            groups: BTreeSet::new(),
            group: None,
        };
        let mut taken = Taken::default();
        while taken.received.len() < wish.most.min(room) {
            let next = if self.is_fifo() {
                pass.next_in_order(self)
            } else {
                pass.next_of_any(self, luck)
            };
            let Some(place) = next else { break };
            pass.seen.insert(place);
            if !self.is_fifo() && wish.is_short && luck.happens(|dials| dials.overlook) {
                continue;
            }
            if let Some(message) = self.give_up(place, wish.give_up_after) {
                taken.given_up.push(message);
                continue;
            }
            taken
                .received
                .push(self.hand_out(place, wish.visibility, luck, now));
        }
        taken
    }

    /// FIFO: where a receive stops to look for groups.
    fn horizon(&self) -> Option<Place> {
        self.settings.fifo?;
        self.shelf.place_after(limits::FIFO_SCAN)
    }

    fn give_up(&mut self, place: Place, after: Option<u32>) -> Option<Message> {
        let received = self.shelf.at(place)?.message.received;
        if received < after? {
            return None;
        }
        self.shelf.remove(place).map(|stored| stored.message)
    }

    fn hand_out(
        &mut self,
        place: Place,
        visibility: TimeDelta,
        luck: &mut Luck,
        now: DateTime<Utc>,
    ) -> Receipt {
        let number = luck.number();
        let until = now + visibility;
        self.shelf.change(place, |stored| {
            stored.receipt = Some(number);
            stored.message.received += 1;
            stored.message.first_received_at.get_or_insert(now);
            stored.state = if visibility.is_zero() {
                State::Visible
            } else {
                State::InFlight { since: now, until }
            };
        });
        if !self.is_fifo() && luck.happens(|dials| dials.duplicate) {
            self.duplicate(place);
        }
        Receipt { place, number }
    }

    /// Puts a second copy of a message in, which anyone can receive.
    pub(crate) fn duplicate(&mut self, place: Place) {
        if let Some(stored) = self.shelf.at(place) {
            let message = stored.message.clone();
            self.shelf.insert(Stored {
                message,
                state: State::Visible,
                receipt: None,
            });
        }
    }
}

/// One receive's way along the shelf.
struct Pass {
    /// What is put in during the receive is not received by it.
    end: Place,
    horizon: Option<Place>,
    seen: BTreeSet<Place>,
    groups: BTreeSet<Option<String>>,
    group: Option<String>,
}

impl Pass {
    /// The next message of the group at hand, then the head of the next group that nobody holds.
    fn next_in_order(&mut self, queue: &Queue) -> Option<Place> {
        let current = self.group.as_deref().and_then(|name| {
            let group = queue.shelf.group(Some(name))?;
            let place = self.first_new(group)?;
            let waits = group
                .delayed
                .first()
                .is_some_and(|delayed| *delayed < place);
            (!waits).then_some(place)
        });
        if current.is_some() {
            return current;
        }
        let (name, head) = queue
            .shelf
            .groups()
            .filter(|(name, _)| !self.groups.contains(&name.map(str::to_owned)))
            .filter_map(|(name, group)| Some((name, group.head()?)))
            .filter(|(_, head)| self.is_within(*head))
            .min_by_key(|(_, head)| *head)?;
        self.group = name.map(str::to_owned);
        self.groups.insert(self.group.clone());
        Some(head)
    }

    /// The oldest message of the group that has the fewest in flight, so that a tenant with a
    /// backlog does not hold up the others; or any message, where the dial says so.
    fn next_of_any(&self, queue: &Queue, luck: &mut Luck) -> Option<Place> {
        let heads = queue.shelf.groups().filter_map(|(name, group)| {
            Some((
                name.map_or(0, |_| group.in_flight.len()),
                self.first_new(group)?,
            ))
        });
        let oldest = heads.min()?.1;
        if !luck.happens(|dials| dials.reorder) {
            return Some(oldest);
        }
        let mut visible: Vec<_> = queue
            .shelf
            .groups()
            .flat_map(|(_, group)| group.visible.iter().copied())
            .filter(|place| self.is_new(*place))
            .collect();
        visible.sort_unstable();
        Some(visible.swap_remove(luck.one_of(visible.len())))
    }

    fn first_new(&self, group: &Group) -> Option<Place> {
        group
            .visible
            .iter()
            .copied()
            .find(|place| self.is_new(*place))
    }

    fn is_new(&self, place: Place) -> bool {
        place < self.end && !self.seen.contains(&place)
    }

    fn is_within(&self, place: Place) -> bool {
        place < self.end && self.horizon.is_none_or(|horizon| place < horizon)
    }
}
