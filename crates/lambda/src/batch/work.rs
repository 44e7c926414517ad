//! The order in which a batch is carried out, and what a failure means for its neighbours.

use std::collections::HashMap;

use aws_lambda_events::sqs::SqsMessage;
use chrono::{DateTime, Utc};
use futures_util::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream,
};
use nightshift_engine::{
    Classify, Disposition, Platform, causes,
    steps::{self, StepError},
};
use nightshift_protocol::{Envelope, Step};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::Queue;

/// Steps of a standard queue's batch that are under way at once.
const AT_ONCE: usize = 8;

/// Whoever carries a step out.
pub trait Work: Sync {
    /// Carries it out. Safe to repeat.
    fn carry_out(&self, envelope: Envelope) -> BoxFuture<'_, Result<(), StepError>>;
}

impl Work for Platform {
    fn carry_out(&self, envelope: Envelope) -> BoxFuture<'_, Result<(), StepError>> {
        steps::follow(self, envelope).boxed()
    }
}

/// What the queue promised about order, and what it expects of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// FIFO: one after the other; the first failure ends the batch, and everything from it on is delivered
    /// again. Were a later message carried out, or only acknowledged, it would have overtaken.
    Strict,
    /// Standard: side by side, each for itself.
    Free,
}

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// SQS's identity of it, by which it is given back.
    pub id: String,
    /// By which SQS is told when it comes again.
    pub receipt: Option<String>,
    /// Its text.
    pub body: String,
    /// When it was sent.
    pub sent_at: Option<DateTime<Utc>>,
    /// How often it was received, this time included.
    pub received: Option<u32>,
}

/// A record that the queue could not be answered about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of the batch has no message id")]
pub struct NamelessRecord;

impl TryFrom<SqsMessage> for Message {
    type Error = NamelessRecord;

    fn try_from(record: SqsMessage) -> Result<Self, NamelessRecord> {
        let number = |name: &str| record.attributes.get(name)?.parse().ok();
        Ok(Self {
            sent_at: number("SentTimestamp").and_then(DateTime::from_timestamp_millis),
            received: number("ApproximateReceiveCount").and_then(|count| count.try_into().ok()),
            id: record
                .message_id
                .filter(|id| !id.is_empty())
                .ok_or(NamelessRecord)?,
            receipt: record.receipt_handle,
            body: record.body.unwrap_or_default(),
        })
    }
}

/// Carries messages out until `until`; returns the ids of those that must be delivered again, in the
/// batch's order. Copies of one step in a batch are carried out once, since all of them were sent before.
///
/// A message that cannot be read is given back as well: a newer version may read it, and if none does it ends in
/// the dead-letter queue, where somebody sees it.
pub async fn carry_out(
    queue: Queue,
    order: Order,
    messages: &[Message],
    until: Instant,
    work: &dyn Work,
) -> Vec<String> {
    let read: Vec<(&Message, Option<Envelope>)> = messages
        .iter()
        .map(|message| (message, read(queue, message)))
        .collect();
    match order {
        Order::Strict => strictly(&read, until, work).await,
        Order::Free => freely(&read, until, work).await,
    }
}

async fn strictly(
    messages: &[(&Message, Option<Envelope>)],
    until: Instant,
    work: &dyn Work,
) -> Vec<String> {
    let mut before = None;
    for (place, (message, envelope)) in messages.iter().enumerate() {
        let Some(envelope) = envelope else {
            return ids(&messages[place..]);
        };
        if before == Some(envelope.step) {
            continue;
        }
        if !attempt(message, *envelope, until, work).await {
            return ids(&messages[place..]);
        }
        before = Some(envelope.step);
    }
    Vec::new()
}

async fn freely(
    messages: &[(&Message, Option<Envelope>)],
    until: Instant,
    work: &dyn Work,
) -> Vec<String> {
    let mut different: HashMap<Step, (&Message, Envelope)> = HashMap::new();
    for (message, envelope) in messages {
        if let Some(envelope) = envelope {
            let first = (*message, *envelope);
            different.entry(envelope.step).or_insert(first);
        }
    }
    let outcomes: HashMap<Step, bool> = stream::iter(different)
        .map(|(step, (message, envelope))| async move {
            (step, attempt(message, envelope, until, work).await)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let is_done = |envelope: &Envelope| outcomes.get(&envelope.step) == Some(&true);
    messages
        .iter()
        .filter(|(_, envelope)| !envelope.as_ref().is_some_and(is_done))
        .map(|(message, _)| message.id.clone())
        .collect()
}

fn ids(messages: &[(&Message, Option<Envelope>)]) -> Vec<String> {
    messages
        .iter()
        .map(|(message, _)| message.id.clone())
        .collect()
}

fn read(queue: Queue, message: &Message) -> Option<Envelope> {
    let read = serde_json::from_str::<Value>(&message.body)
        .map_err(|error| StepError::Unreadable(error.to_string()))
        .and_then(|payload| steps::read(&payload));
    match read {
        Ok(envelope) if Queue::of(&envelope.step) == queue => Some(envelope),
        Ok(envelope) => {
            tracing::error!(
                message.id,
                received = message.received,
                step = envelope.step.kind(),
                %queue,
                "A step came by the wrong queue"
            );
            None
        }
        Err(error) => {
            let error = causes(&error);
            tracing::error!(
                message.id,
                received = message.received,
                error,
                "A message cannot be read"
            );
            None
        }
    }
}

/// Whether the queue may forget the message.
#[tracing::instrument(name = "lambda.batch.message", skip_all, fields(
    message.id,
    step = envelope.step.kind(),
    trace.id = envelope.trace.map(|trace| trace.id()),
))]
async fn attempt(message: &Message, envelope: Envelope, until: Instant, work: &dyn Work) -> bool {
    let received = message.received;
    if Instant::now() >= until {
        return false;
    }
    let Ok(outcome) = timeout_at(until, work.carry_out(envelope)).await else {
        tracing::warn!(
            received,
            "A step takes longer than this invocation may; it comes again"
        );
        return false;
    };
    let Err(error) = outcome else {
        tracing::debug!(received, "Carried a step out");
        return true;
    };
    let (disposition, error) = (error.disposition(), causes(&error));
    match disposition {
        Disposition::Discard => tracing::warn!(received, error, "Discarded a step"),
        Disposition::Retry => tracing::warn!(received, error, "A step failed; it comes again"),
    }
    disposition == Disposition::Discard
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
