//! SQS as far as it can surprise: at least once, in any order, hidden for a while, dead at last.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::rng::Rng;

/// How long a received message is hidden: six times what a function may take.
const VISIBILITY: TimeDelta = TimeDelta::seconds(60);
/// How long a FIFO queue remembers what was sent.
const DEDUPLICATION: TimeDelta = TimeDelta::minutes(5);
/// Receives until a message is dead.
const MAX_RECEIVES: u32 = 10;

/// A queue, by the function behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// FIFO, one group a pool.
    Claim,
    /// Starts and stops machines.
    Dispatch,
    /// Plans sandboxes.
    Refill,
    /// Makes sandboxes.
    Provision,
    /// Destroys sandboxes.
    Retire,
    /// Tells the world.
    WriteBack,
}

impl Name {
    /// Every queue.
    pub const ALL: [Self; 6] = [
        Self::Claim,
        Self::Dispatch,
        Self::Refill,
        Self::Provision,
        Self::Retire,
        Self::WriteBack,
    ];

    /// The queue of a kind of step.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        match kind {
            "claim_wake" => Self::Claim,
            "refill" => Self::Refill,
            "provision" => Self::Provision,
            "retire" => Self::Retire,
            "write_back" => Self::WriteBack,
            _ => Self::Dispatch,
        }
    }

    /// How the trace calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Dispatch => "dispatch",
            Self::Refill => "refill",
            Self::Provision => "provision",
            Self::Retire => "retire",
            Self::WriteBack => "write-back",
        }
    }

    /// Whether it keeps the order within a group.
    #[must_use]
    pub const fn is_fifo(self) -> bool {
        matches!(self, Self::Claim)
    }
}

/// A message that somebody received.
#[derive(Debug, Clone)]
pub struct Received {
    /// Which.
    pub id: u64,
    /// Which receive of it.
    pub receives: u32,
    /// The envelope.
    pub body: Value,
}

#[derive(Debug, Clone)]
struct Message {
    id: u64,
    group: String,
    body: Value,
    visible_at: DateTime<Utc>,
    receives: u32,
    /// Receives that do not count any more, since a person sent it back.
    forgiven: u32,
}

/// All queues.
#[derive(Debug, Default)]
pub struct Queues {
    waiting: BTreeMap<Name, Vec<Message>>,
    dead: Vec<(Name, Message)>,
    accepted: HashMap<String, DateTime<Utc>>,
    sent: u64,
}

impl Queues {
    /// Accepts a message. `unique` is the deduplication id, which only FIFO queues look at.
    pub fn send(&mut self, to: Name, group: &str, unique: &str, body: Value, now: DateTime<Utc>) {
        if to.is_fifo() {
            let known = self.accepted.get(unique).copied();
            if known.is_some_and(|at| now - at < DEDUPLICATION) {
                return;
            }
            self.accepted.insert(unique.to_owned(), now);
        }
        self.sent += 1;
        self.waiting.entry(to).or_default().push(Message {
            id: self.sent,
            group: group.to_owned(),
            body,
            visible_at: now,
            receives: 0,
            forgiven: 0,
        });
    }

    /// Up to a few messages: of one group in order where the queue keeps it, else any. With
    /// `duplicate` in ten thousand one stays visible although it was received, and with it its group.
    pub fn receive(
        &mut self,
        from: Name,
        now: DateTime<Utc>,
        rng: &mut Rng,
        duplicate: u64,
    ) -> Vec<Received> {
        self.bury(from, now);
        let at_most = 1 + rng.below(4);
        let mut received = Vec::new();
        for _ in 0..at_most {
            let visible = self.visible(from, now);
            let place = if from.is_fifo() {
                0
            } else {
                rng.below(visible.len())
            };
            let Some(index) = visible.get(place).copied() else {
                break;
            };
            let stays = rng.happens(duplicate);
            let Some(message) = self
                .waiting
                .get_mut(&from)
                .and_then(|all| all.get_mut(index))
            else {
                break;
            };
            message.receives += 1;
            if from.is_fifo() {
                // The group's next one is only delivered together with, or after, this one.
                let group = message.group.clone();
                received.push(taken(message));
                self.take_group(from, &group, at_most - 1, now, &mut received);
                if stays {
                    return received;
                }
                break;
            }
            received.push(taken(message));
            if !stays {
                message.visible_at = now + VISIBILITY;
            }
        }
        if from.is_fifo() {
            for message in self.waiting.entry(from).or_default() {
                if received.iter().any(|one| one.id == message.id) {
                    message.visible_at = now + VISIBILITY;
                }
            }
        }
        received
    }

    fn take_group(
        &mut self,
        from: Name,
        group: &str,
        more: usize,
        now: DateTime<Utc>,
        received: &mut Vec<Received>,
    ) {
        let queue = self.waiting.entry(from).or_default().iter_mut();
        let next = queue.filter(|message| message.group == group && message.visible_at <= now);
        for message in next.skip(1).take(more) {
            message.receives += 1;
            received.push(taken(message));
        }
    }

    /// Deletes what was received, as far as the receipt still counts.
    pub fn delete(&mut self, from: Name, received: &Received) {
        let queue = self.waiting.entry(from).or_default();
        queue.retain(|message| {
            // On a FIFO queue the receipt of a message that was delivered again is worth nothing.
            message.id != received.id || (from.is_fifo() && message.receives != received.receives)
        });
    }

    /// When there is something to receive, if anything is there at all.
    #[must_use]
    pub fn next_visible(&self, from: Name, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !self.visible(from, now).is_empty() {
            return Some(now);
        }
        let queue = self.waiting.get(&from)?;
        let mut seen: Vec<&str> = Vec::new();
        let heads = queue.iter().filter(|message| {
            // What stands behind one that is under way waits for it.
            let first = !seen.contains(&message.group.as_str());
            seen.push(&message.group);
            first || !from.is_fifo()
        });
        heads.map(|message| message.visible_at).min()
    }

    /// Whether any message, dead or alive, is like this.
    pub fn hold(&self, like: impl Fn(&Value) -> bool) -> bool {
        let alive = self.waiting.values().flatten();
        let dead = self.dead.iter().map(|(_, message)| message);
        alive.chain(dead).any(|message| like(&message.body))
    }

    /// Whether nothing is in any of them.
    #[must_use]
    pub fn are_empty(&self) -> bool {
        self.waiting.values().all(Vec::is_empty)
    }

    /// How many are dead.
    #[must_use]
    pub const fn dead(&self) -> usize {
        self.dead.len()
    }

    /// A person sends the dead back to where they came from, and will do so with those that have been
    /// received too often already and die later.
    pub fn redrive(&mut self, now: DateTime<Utc>) {
        for (name, message) in std::mem::take(&mut self.dead) {
            self.waiting.entry(name).or_default().push(Message {
                visible_at: now,
                ..message
            });
        }
        for message in self.waiting.values_mut().flatten() {
            message.forgiven = message.receives;
        }
    }

    fn bury(&mut self, from: Name, now: DateTime<Utc>) {
        let queue = self.waiting.entry(from).or_default();
        let over = |message: &Message| {
            message.visible_at <= now && message.receives - message.forgiven >= MAX_RECEIVES
        };
        let dead = queue.iter().filter(|message| over(message)).cloned();
        self.dead.extend(dead.map(|message| (from, message)));
        queue.retain(|message| !over(message));
    }

    /// What can be received now, by place: in a FIFO queue the first of each group that has none under way.
    fn visible(&self, from: Name, now: DateTime<Utc>) -> Vec<usize> {
        let queue = self.waiting.get(&from).map_or(&[][..], Vec::as_slice);
        let mut seen: Vec<&str> = Vec::new();
        let mut visible = Vec::new();
        for (index, message) in queue.iter().enumerate() {
            if from.is_fifo() {
                if seen.contains(&message.group.as_str()) {
                    continue;
                }
                seen.push(&message.group);
            }
            if message.visible_at <= now {
                visible.push(index);
            }
        }
        visible
    }
}

fn taken(message: &Message) -> Received {
    Received {
        id: message.id,
        receives: message.receives,
        body: message.body.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fifo(bodies: &[&str]) -> Queues {
        let mut queues = Queues::default();
        for body in bodies {
            queues.send(
                Name::Claim,
                "pool",
                body,
                Value::from(*body),
                DateTime::UNIX_EPOCH,
            );
        }
        queues
    }

    #[test]
    fn a_group_is_blocked_while_one_of_it_is_under_way() {
        let now = DateTime::UNIX_EPOCH;
        let mut queues = fifo(&["a", "b", "c", "d", "e", "f"]);
        let first = queues.receive(Name::Claim, now, &mut Rng::of(1), 0);
        assert!(!first.is_empty() && first.len() < 6);
        assert_eq!(first[0].body, "a");
        assert!(
            queues
                .receive(Name::Claim, now, &mut Rng::of(1), 0)
                .is_empty()
        );
        let again = queues.receive(Name::Claim, now + VISIBILITY, &mut Rng::of(1), 0);
        assert_eq!(again[0].body, "a");
        queues.delete(Name::Claim, &first[0]);
        assert!(!queues.are_empty(), "an old receipt deletes nothing");
    }

    #[test]
    fn the_same_deduplication_id_is_accepted_once_in_five_minutes() {
        let now = DateTime::UNIX_EPOCH;
        let mut queues = fifo(&["a", "a"]);
        let received = queues.receive(Name::Claim, now, &mut Rng::of(3), 0);
        queues.delete(Name::Claim, &received[0]);
        assert!(queues.are_empty());
        queues.send(Name::Claim, "pool", "a", Value::Null, now + DEDUPLICATION);
        assert!(!queues.are_empty());
    }

    #[test]
    fn a_message_that_is_received_too_often_dies() {
        let mut queues = Queues::default();
        let mut now = DateTime::UNIX_EPOCH;
        queues.send(Name::Retire, "g", "u", Value::Null, now);
        for _ in 0..MAX_RECEIVES {
            assert_eq!(
                queues.receive(Name::Retire, now, &mut Rng::of(1), 0).len(),
                1
            );
            now += VISIBILITY;
        }
        assert!(
            queues
                .receive(Name::Retire, now, &mut Rng::of(1), 0)
                .is_empty()
        );
        assert_eq!(queues.dead(), 1);
    }

    #[test]
    fn a_message_that_is_sent_back_after_its_last_receive_lives() {
        let mut queues = Queues::default();
        let mut now = DateTime::UNIX_EPOCH;
        queues.send(Name::Retire, "g", "u", Value::Null, now);
        for _ in 0..MAX_RECEIVES {
            queues.receive(Name::Retire, now, &mut Rng::of(1), 0);
            now += VISIBILITY;
        }
        queues.redrive(now);
        let again = queues.receive(Name::Retire, now, &mut Rng::of(1), 0);
        assert_eq!((again.len(), queues.dead()), (1, 0));
    }
}
