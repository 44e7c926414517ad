//! `SendMessage`.

use serde::{Deserialize, Serialize};

use super::Action;
use crate::account::Account;
use crate::limits;
use crate::message::{Content, Message, check_token};
use crate::message_attributes::{self, MessageAttributes};
use crate::queue::Queue;
use crate::refusal::{Code, Refusal};

/// Puts one message into a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SendMessage {
    /// Which queue.
    pub queue_url: String,
    /// What is sent: 1 byte to 1 MiB of text.
    pub message_body: String,
    /// Seconds until it can be received, 0 to 900; the queue's delay if none. Not on FIFO queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<i64>,
    /// At most 10.
    pub message_attributes: MessageAttributes,
    /// `AWSTraceHeader` only.
    pub message_system_attributes: MessageAttributes,
    /// Required on FIFO queues; on standard queues the tenant, for fairness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_group_id: Option<String>,
    /// FIFO queues only: what makes two messages the same for five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_deduplication_id: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SendMessageAnswer {
    /// The message's id; that of the first one if this one was the same.
    pub message_id: String,
    /// Hexadecimal.
    #[serde(rename = "MD5OfMessageBody")]
    pub md5_of_message_body: String,
    /// Hexadecimal, where there are attributes.
    #[serde(
        rename = "MD5OfMessageAttributes",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub md5_of_message_attributes: Option<String>,
    /// Hexadecimal, where there is a trace header.
    #[serde(
        rename = "MD5OfMessageSystemAttributes",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub md5_of_message_system_attributes: Option<String>,
    /// FIFO queues: twenty digits that grow.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sequence_number: Option<String>,
}

impl Action for SendMessage {
    const NAME: &'static str = "SendMessage";
    type Answer = SendMessageAnswer;

    fn perform(self, account: &mut Account) -> Result<SendMessageAnswer, Refusal> {
        let name = account.queue(&self.queue_url)?.name.clone();
        send(account, &name, self)
    }
}

/// Sends to the queue of this name, which was just settled.
pub(super) fn send(
    account: &mut Account,
    name: &str,
    message: SendMessage,
) -> Result<SendMessageAnswer, Refusal> {
    let now = account.now();
    let queue = account.queues.get_mut(name).ok_or_else(Refusal::no_queue)?;
    check_delay(queue, message.delay_seconds)?;
    let delay = message.delay_seconds.filter(|_| !queue.is_fifo());
    let system = message.message_system_attributes.clone();
    let content = content(queue, message)?;
    let size = content.bytes();
    let most = queue.settings.maximum_message_bytes();
    if size > most {
        return Err(Code::InvalidParameterValue.because(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
        )));
    }
    if let Some(answer) = queue.accepted_before(&content) {
        return Ok(answer);
    }
    let sequence = queue.next_sequence();
    let message = Message {
        id: account.luck.uuid(),
        content,
        sent_at: now,
        sequence,
        received: 0,
        first_received_at: None,
        dead_from: None,
    };
    let answer = SendMessageAnswer {
        message_id: message.id.clone(),
        md5_of_message_body: message_attributes::text_md5(&message.content.body),
        md5_of_message_attributes: message_attributes::md5(&message.content.attributes),
        md5_of_message_system_attributes: message_attributes::md5(&system),
        sequence_number: sequence.map(|number| format!("{number:020}")),
    };
    queue.remember(&message.content, &answer, now);
    let delay = delay.map_or(queue.settings.delay(), chrono::TimeDelta::seconds);
    queue.put(message, now + delay, now);
    Ok(answer)
}

fn check_delay(queue: &Queue, delay: Option<i64>) -> Result<(), Refusal> {
    let Some(seconds) = delay else {
        return Ok(());
    };
    if !(0..=limits::DELAY_SECONDS).contains(&seconds) {
        return Err(Refusal::value(
            seconds,
            "DelaySeconds",
            "DelaySeconds must be >= 0 and <= 900.",
        ));
    }
    // Zero says nothing that the queue does not say.
    if queue.is_fifo() && seconds != 0 {
        return Err(Refusal::value(
            seconds,
            "DelaySeconds",
            "The request include parameter that is not valid for this queue type.",
        ));
    }
    Ok(())
}

/// Checks what is sent and adds what the queue derives from it.
fn content(queue: &Queue, message: SendMessage) -> Result<Content, Refusal> {
    let mut content = Content {
        trace_header: trace_header(message.message_system_attributes)?,
        body: message.message_body,
        attributes: message.message_attributes,
        group: message.message_group_id,
        deduplication: message.message_deduplication_id,
    };
    content.check()?;
    if let Some(group) = &content.group {
        check_token(group, "MessageGroupId")?;
    }
    let Some(fifo) = queue.settings.fifo else {
        return match &content.deduplication {
            None => Ok(content),
            Some(id) => Err(Refusal::value(
                id,
                "MessageDeduplicationId",
                "The request includes a parameter that is not valid for this queue type.",
            )),
        };
    };
    if content.group.is_none() {
        return Err(Refusal::missing("MessageGroupId"));
    }
    match &content.deduplication {
        Some(id) => check_token(id, "MessageDeduplicationId")?,
        None if fifo.content_based_deduplication => {
            content.deduplication = Some(content.body_hash());
        }
        None => {
            return Err(Code::InvalidParameterValue.because(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                 explicitly",
            ));
        }
    }
    Ok(content)
}

fn trace_header(attributes: MessageAttributes) -> Result<Option<String>, Refusal> {
    let mut header = None;
    for (name, value) in attributes {
        if name != "AWSTraceHeader" || value.data_type != "String" {
            return Err(Code::InvalidParameterValue.because(format!(
                "Message system attribute name '{name}' is invalid, or its type is not String."
            )));
        }
        header = value.string_value;
    }
    Ok(header)
}
