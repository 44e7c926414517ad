//! `SendMessageBatch`.

use serde::{Deserialize, Serialize};

use super::batch::{self, BatchAnswer};
use super::send::send;
use super::{Action, SendMessage, SendMessageAnswer};
use crate::account::Account;
use crate::limits;
use crate::message_attributes::{self, MessageAttributes};
use crate::refusal::{Code, Refusal};

/// Puts up to ten messages into a queue, each on its own account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SendMessageBatch {
    /// Which queue.
    pub queue_url: String,
    /// 1 to 10, at most 1 MiB together.
    pub entries: Vec<SendEntry>,
}

/// One message of a batch; the fields are those of [`SendMessage`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the fields of SendMessage")]
pub struct SendEntry {
    /// Names the entry in the answer.
    pub id: String,
    pub message_body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<i64>,
    pub message_attributes: MessageAttributes,
    pub message_system_attributes: MessageAttributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_group_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_deduplication_id: Option<String>,
}

/// One message that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SentEntry {
    /// The entry's id.
    pub id: String,
    /// What `SendMessage` would have answered.
    #[serde(flatten)]
    pub answer: SendMessageAnswer,
}

impl Action for SendMessageBatch {
    const NAME: &'static str = "SendMessageBatch";
    type Answer = BatchAnswer<SentEntry>;

    fn perform(self, account: &mut Account) -> Result<Self::Answer, Refusal> {
        let name = account.queue(&self.queue_url)?.name.clone();
        batch::check_ids(self.entries.iter().map(|entry| entry.id.as_str()))?;
        let bytes: usize = self.entries.iter().map(SendEntry::bytes).sum();
        if bytes > limits::MESSAGE_BYTES {
            return Err(Code::BatchRequestTooLong.because(format!(
                "Batch requests cannot be longer than {} bytes. You have sent {bytes} bytes.",
                limits::MESSAGE_BYTES
            )));
        }
        let entries = self
            .entries
            .into_iter()
            .map(|entry| (entry.id.clone(), entry))
            .collect();
        Ok(batch::each(entries, |id, entry| {
            let answer = send(account, &name, entry.into_message())?;
            Ok(SentEntry {
                id: id.to_owned(),
                answer,
            })
        }))
    }
}

impl SendEntry {
    fn bytes(&self) -> usize {
        self.message_body.len() + message_attributes::bytes(&self.message_attributes)
    }

    fn into_message(self) -> SendMessage {
        SendMessage {
            queue_url: String::new(),
            message_body: self.message_body,
            delay_seconds: self.delay_seconds,
            message_attributes: self.message_attributes,
            message_system_attributes: self.message_system_attributes,
            message_group_id: self.message_group_id,
            message_deduplication_id: self.message_deduplication_id,
        }
    }
}
