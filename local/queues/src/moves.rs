//! Move tasks: bringing messages back from a dead-letter queue, as new messages.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::limits;
use crate::message::Message;
use crate::shelf::{Place, State};

/// One task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Move {
    pub(crate) handle: String,
    /// The dead-letter queue's name.
    pub(crate) source: String,
    /// Where to, or back to where each message came from.
    pub(crate) destination: Option<String>,
    pub(crate) per_second: Option<i64>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) total: i64,
    pub(crate) moved: i64,
    pub(crate) status: Status,
    pub(crate) failure: Option<String>,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Status {
    Running,
    Completed,
    Cancelled,
    Failed,
}

impl Account {
    /// Lets every running task move what it may have moved by now.
    pub(crate) fn run_moves(&mut self) {
        let mut moves = std::mem::take(&mut self.moves);
        for task in moves
            .iter_mut()
            .filter(|task| task.status == Status::Running)
        {
            self.run_move(task);
        }
        self.moves = moves;
    }

    fn run_move(&mut self, task: &mut Move) {
        let now = self.now();
        let seconds = (now - task.started_at).num_seconds();
        let allowed = task.per_second.unwrap_or(limits::MOVED_PER_SECOND) * (seconds + 1);
        while task.moved < allowed.min(task.total) {
            let Some((place, message)) = self.oldest(&task.source) else {
                break;
            };
            let to = task
                .destination
                .clone()
                .or_else(|| message.dead_from.clone());
            let Some(to) = to.filter(|name| self.queues.contains_key(name)) else {
                task.status = Status::Failed;
                task.failure = Some("CouldNotDetermineMessageSource".to_owned());
                self.touch();
                return;
            };
            self.move_one(&task.source, place, &to);
            task.moved += 1;
        }
        if task.moved >= task.total || self.oldest(&task.source).is_none() {
            task.status = Status::Completed;
            self.touch();
        }
    }

    fn oldest(&mut self, name: &str) -> Option<(Place, &Message)> {
        let now = self.now();
        let queue = self.queues.get_mut(name)?;
        queue.settle(now);
        queue
            .shelf
            .iter()
            .find(|(_, stored)| stored.state == State::Visible)
            .map(|(place, stored)| (place, &stored.message))
    }

    /// A moved message is a new one: new id, new age, never received.
    fn move_one(&mut self, from: &str, place: Place, to: &str) {
        let now = self.now();
        let Some(stored) = self
            .queues
            .get_mut(from)
            .and_then(|queue| queue.shelf.remove(place))
        else {
            return;
        };
        let id = self.luck.uuid();
        if let Some(queue) = self.queues.get_mut(to) {
            let message = Message {
                id,
                sent_at: now,
                sequence: queue.next_sequence(),
                received: 0,
                first_received_at: None,
                dead_from: None,
                content: stored.message.content,
            };
            queue.put(message, now, now);
        }
    }
}
