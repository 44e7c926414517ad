//! `DeleteMessage` and `DeleteMessageBatch`.

use serde::{Deserialize, Serialize};

use super::batch::{self, BatchAnswer, Succeeded};
use super::{Action, Done};
use crate::account::Account;
use crate::queue::Queue;
use crate::receipt::Receipt;
use crate::refusal::Refusal;
use crate::shelf::State;

/// Deletes a message that was received.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeleteMessage {
    /// Which queue.
    pub queue_url: String,
    /// From its newest receive.
    pub receipt_handle: String,
}

/// Deletes up to ten messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeleteMessageBatch {
    /// Which queue.
    pub queue_url: String,
    /// 1 to 10.
    pub entries: Vec<DeleteEntry>,
}

/// One message to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeleteEntry {
    /// Names the entry in the answer.
    pub id: String,
    /// From the message's newest receive.
    pub receipt_handle: String,
}

impl Action for DeleteMessage {
    const NAME: &'static str = "DeleteMessage";
    type Answer = Done;

    fn perform(self, account: &mut Account) -> Result<Done, Refusal> {
        delete(
            account.queue_to_change(&self.queue_url)?,
            &self.receipt_handle,
        )?;
        Ok(Done {})
    }
}

impl Action for DeleteMessageBatch {
    const NAME: &'static str = "DeleteMessageBatch";
    type Answer = BatchAnswer<Succeeded>;

    fn perform(self, account: &mut Account) -> Result<Self::Answer, Refusal> {
        let queue = account.queue_to_change(&self.queue_url)?;
        batch::check_ids(self.entries.iter().map(|entry| entry.id.as_str()))?;
        let entries = self
            .entries
            .into_iter()
            .map(|entry| (entry.id, entry.receipt_handle))
            .collect();
        Ok(batch::each(entries, |id, handle: String| {
            delete(queue, &handle)?;
            Ok(Succeeded { id: id.to_owned() })
        }))
    }
}

/// Deleting what is gone succeeds. A stale handle deletes nothing: a standard queue does not say
/// so, a FIFO queue refuses, and there a handle is stale as soon as its message shows again.
fn delete(queue: &mut Queue, handle: &str) -> Result<(), Refusal> {
    let receipt = Receipt::read(handle, &queue.name)?;
    let Some(stored) = queue.shelf.at(receipt.place) else {
        return Ok(());
    };
    let is_newest = stored.receipt == Some(receipt.number);
    let is_held = matches!(stored.state, State::InFlight { .. });
    if queue.is_fifo() && !(is_newest && is_held) {
        return Err(Receipt::expired(handle));
    }
    if is_newest {
        queue.shelf.remove(receipt.place);
    }
    Ok(())
}
