//! `ReceiveMessage`.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::Action;
use crate::account::Account;
use crate::deliver::Wish;
use crate::limits;
use crate::message::Message;
use crate::message_attributes::{self, MessageAttributes};
use crate::receipt::Receipt;
use crate::refusal::{Code, Refusal};

/// Takes up to ten messages from a queue. It answers at once; [`crate::Queues::receive`] waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReceiveMessage {
    /// Which queue.
    pub queue_url: String,
    /// 1 to 10; 1 if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_number_of_messages: Option<i64>,
    /// Seconds that the messages stay hidden, 0 to 43,200; the queue's if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility_timeout: Option<i64>,
    /// Seconds to wait for a message, 0 to 20; the queue's if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_time_seconds: Option<i64>,
    /// Which system attributes to return; `All` for all.
    pub message_system_attribute_names: Vec<String>,
    /// The old name of the same.
    pub attribute_names: Vec<String>,
    /// Which of the sender's attributes to return.
    pub message_attribute_names: Vec<String>,
    /// FIFO: the same attempt within five minutes gets the same messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_request_attempt_id: Option<String>,
}

/// What was there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReceiveMessageAnswer {
    /// Perhaps none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<ReceivedMessage>,
}

/// One received message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReceivedMessage {
    /// The same whenever it is received.
    pub message_id: String,
    /// Different whenever it is received.
    pub receipt_handle: String,
    /// Hexadecimal.
    #[serde(rename = "MD5OfBody")]
    pub md5_of_body: String,
    /// What was sent.
    pub body: String,
    /// System attributes that were asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub attributes: BTreeMap<String, String>,
    /// Of those that were asked for.
    #[serde(
        rename = "MD5OfMessageAttributes",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub md5_of_message_attributes: Option<String>,
    /// The sender's attributes that were asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub message_attributes: MessageAttributes,
}

const SYSTEM_ATTRIBUTES: [&str; 10] = [
    "All",
    "AWSTraceHeader",
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
];

impl Action for ReceiveMessage {
    const NAME: &'static str = "ReceiveMessage";
    type Answer = ReceiveMessageAnswer;

    fn perform(self, account: &mut Account) -> Result<ReceiveMessageAnswer, Refusal> {
        let now = account.now();
        let is_short = self.wait(account)?.is_zero();
        let most = self.most()?;
        for name in self
            .message_system_attribute_names
            .iter()
            .chain(&self.attribute_names)
        {
            if !SYSTEM_ATTRIBUTES.contains(&name.as_str()) {
                return Err(
                    Code::InvalidAttributeName.because(format!("Unknown Attribute {name}."))
                );
            }
        }
        let queue = account.queue(&self.queue_url)?;
        let visibility = match self.visibility_timeout {
            Some(seconds) => check_visibility(seconds)?,
            None => queue.settings.visibility(),
        };
        if let Some(id) = &self.receive_request_attempt_id {
            if !queue.is_fifo() {
                let reason =
                    "The request includes a parameter that is not valid for this queue type.";
                return Err(Refusal::value(id, "ReceiveRequestAttemptId", reason));
            }
            crate::message::check_token(id, "ReceiveRequestAttemptId")?;
        }
        if is_short && !queue.is_fifo() && queue.shelf.counts().in_flight >= limits::IN_FLIGHT {
            return Err(Code::OverLimit.because("Too many messages in flight."));
        }
        let name = queue.name.clone();
        let attempt = self.receive_request_attempt_id.as_deref();
        let repeated = attempt.and_then(|id| queue.repeat_attempt(id, now + visibility, now));
        let receipts = if let Some(receipts) = repeated {
            account.touch();
            receipts
        } else {
            let wish = Wish {
                most,
                visibility,
                is_short,
                give_up_after: None,
            };
            let receipts = account.take(&name, wish).received;
            if let (Some(id), Some(queue)) = (attempt, account.queues.get_mut(&name)) {
                queue.remember_attempt(id, &receipts, now);
            }
            receipts
        };
        let messages = receipts
            .iter()
            .filter_map(|receipt| self.describe(account, &name, *receipt))
            .collect();
        Ok(ReceiveMessageAnswer { messages })
    }
}

impl ReceiveMessage {
    /// How long it may wait, as it says or as the queue says.
    pub(crate) fn wait(&self, account: &mut Account) -> Result<TimeDelta, Refusal> {
        let queue = account.queue(&self.queue_url)?;
        match self.wait_time_seconds {
            None => Ok(queue.settings.wait()),
            Some(seconds) if (0..=limits::WAIT_SECONDS).contains(&seconds) => {
                Ok(TimeDelta::seconds(seconds))
            }
            Some(seconds) => Err(Refusal::value(
                seconds,
                "WaitTimeSeconds",
                "Must be >= 0 and <= 20, if provided.",
            )),
        }
    }

    fn most(&self) -> Result<usize, Refusal> {
        let most = self.max_number_of_messages.unwrap_or(1);
        let as_count = usize::try_from(most)
            .ok()
            .filter(|most| (1..=limits::BATCH_ENTRIES).contains(most));
        as_count.ok_or_else(|| {
            Refusal::value(
                most,
                "MaxNumberOfMessages",
                "Must be between 1 and 10, if provided.",
            )
        })
    }

    fn describe(&self, account: &Account, name: &str, receipt: Receipt) -> Option<ReceivedMessage> {
        let message = &account.queues.get(name)?.shelf.at(receipt.place)?.message;
        let asked: Vec<_> = self
            .message_system_attribute_names
            .iter()
            .chain(&self.attribute_names)
            .collect();
        let is_asked = |name: &str| asked.iter().any(|asked| *asked == name || *asked == "All");
        let attributes = system_attributes(account, message)
            .into_iter()
            .filter(|(name, _)| is_asked(name));
        let sent = message_attributes::selected(
            &message.content.attributes,
            &self.message_attribute_names,
        );
        Some(ReceivedMessage {
            message_id: message.id.clone(),
            receipt_handle: receipt.handle(name),
            md5_of_body: message_attributes::text_md5(&message.content.body),
            body: message.content.body.clone(),
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            md5_of_message_attributes: message_attributes::md5(&sent),
            message_attributes: sent,
        })
    }
}

/// Checks a visibility timeout of a request.
pub(super) fn check_visibility(seconds: i64) -> Result<TimeDelta, Refusal> {
    if (0..=limits::VISIBILITY_SECONDS).contains(&seconds) {
        return Ok(TimeDelta::seconds(seconds));
    }
    Err(Refusal::value(
        seconds,
        "VisibilityTimeout",
        "Must be between 0 and 43200, if provided.",
    ))
}

fn system_attributes(account: &Account, message: &Message) -> Vec<(&'static str, String)> {
    let content = &message.content;
    let first = message
        .first_received_at
        .map(|at| at.timestamp_millis().to_string());
    let all = [
        ("AWSTraceHeader", content.trace_header.clone()),
        ("ApproximateFirstReceiveTimestamp", first),
        (
            "ApproximateReceiveCount",
            Some(message.received.to_string()),
        ),
        (
            "DeadLetterQueueSourceArn",
            message.dead_from.as_deref().map(|name| account.arn(name)),
        ),
        ("MessageDeduplicationId", content.deduplication.clone()),
        ("MessageGroupId", content.group.clone()),
        ("SenderId", Some(account.identity.account.clone())),
        (
            "SentTimestamp",
            Some(message.sent_at.timestamp_millis().to_string()),
        ),
        (
            "SequenceNumber",
            message.sequence.map(|number| format!("{number:020}")),
        ),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}
