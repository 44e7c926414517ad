//! `ChangeMessageVisibility` and `ChangeMessageVisibilityBatch`.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::batch::{self, BatchAnswer, Succeeded};
use super::receive::check_visibility;
use super::{Action, Done};
use crate::account::Account;
use crate::limits;
use crate::queue::Queue;
use crate::receipt::Receipt;
use crate::refusal::{Code, Refusal};
use crate::shelf::State;

/// Hides a message in flight for longer, or gives it back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ChangeMessageVisibility {
    /// Which queue.
    pub queue_url: String,
    /// From the message's newest receive.
    pub receipt_handle: String,
    /// Seconds from now, 0 to 43,200; 0 gives it back.
    pub visibility_timeout: Option<i64>,
}

/// The same for up to ten messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ChangeMessageVisibilityBatch {
    /// Which queue.
    pub queue_url: String,
    /// 1 to 10.
    pub entries: Vec<VisibilityEntry>,
}

/// One message to hide or to give back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VisibilityEntry {
    /// Names the entry in the answer.
    pub id: String,
    /// From the message's newest receive.
    pub receipt_handle: String,
    /// Seconds from now, 0 to 43,200.
    pub visibility_timeout: Option<i64>,
}

impl Action for ChangeMessageVisibility {
    const NAME: &'static str = "ChangeMessageVisibility";
    type Answer = Done;

    fn perform(self, account: &mut Account) -> Result<Done, Refusal> {
        let now = account.now();
        let queue = account.queue_to_change(&self.queue_url)?;
        change(queue, &self.receipt_handle, self.visibility_timeout, now)?;
        Ok(Done {})
    }
}

impl Action for ChangeMessageVisibilityBatch {
    const NAME: &'static str = "ChangeMessageVisibilityBatch";
    type Answer = BatchAnswer<Succeeded>;

    fn perform(self, account: &mut Account) -> Result<Self::Answer, Refusal> {
        let now = account.now();
        let queue = account.queue_to_change(&self.queue_url)?;
        batch::check_ids(self.entries.iter().map(|entry| entry.id.as_str()))?;
        let entries = self
            .entries
            .into_iter()
            .map(|entry| (entry.id.clone(), entry))
            .collect();
        Ok(batch::each(entries, |id, entry: VisibilityEntry| {
            change(queue, &entry.receipt_handle, entry.visibility_timeout, now)?;
            Ok(Succeeded { id: id.to_owned() })
        }))
    }
}

fn change(
    queue: &mut Queue,
    handle: &str,
    seconds: Option<i64>,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let seconds = seconds.ok_or_else(|| Refusal::missing("VisibilityTimeout"))?;
    let visibility = check_visibility(seconds)?;
    let receipt = Receipt::read(handle, &queue.name)?;
    let Some(stored) = queue.shelf.at(receipt.place) else {
        let reason = "Message does not exist or is not available for visibility timeout change.";
        return Err(Refusal::value(handle, "ReceiptHandle", reason));
    };
    if stored.receipt != Some(receipt.number) {
        return Err(Receipt::expired(handle));
    }
    let State::InFlight { since, .. } = stored.state else {
        return Err(Code::MessageNotInflight.because("The specified message isn't in flight."));
    };
    // Twelve hours from the receive, however often it is extended.
    if now + visibility - since > TimeDelta::seconds(limits::VISIBILITY_SECONDS) {
        let reason = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
        return Err(Refusal::value(seconds, "VisibilityTimeout", reason));
    }
    queue.shelf.change(receipt.place, |stored| {
        stored.state = if visibility.is_zero() {
            State::Visible
        } else {
            State::InFlight {
                since,
                until: now + visibility,
            }
        };
    });
    Ok(())
}
