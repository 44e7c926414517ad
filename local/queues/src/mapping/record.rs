//! A received message, and the event that a batch of them becomes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::Settings;

/// A message that was received and must be deleted or comes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The service's id; a duplicate has the same.
    pub id: String,
    /// What deletes it.
    pub handle: String,
    /// What was sent.
    pub body: String,
    /// MD5 of the body, in hex.
    pub md5_of_body: String,
    /// The queue's attributes by name, such as `ApproximateReceiveCount`.
    pub attributes: BTreeMap<String, String>,
    /// The sender's attributes, in the event's form.
    pub message_attributes: Map<String, Value>,
    /// When the queue gives it to others again.
    pub hidden_until: Instant,
}

impl Received {
    /// About what it takes of an event, in bytes.
    pub(super) fn bytes(&self) -> usize {
        // Names, ids and attributes take some, and a body grows with every character that is escaped.
        let body = serde_json::to_string(&self.body).map_or(self.body.len(), |text| text.len());
        2_048 + body
    }
}

/// The event for one invocation.
pub(super) fn event(settings: &Settings, batch: &[Received]) -> Value {
    let records: Vec<Value> = batch
        .iter()
        .map(|message| {
            json!({
                "messageId": message.id,
                "receiptHandle": message.handle,
                "body": message.body,
                "attributes": message.attributes,
                "messageAttributes": message.message_attributes,
                "md5OfBody": message.md5_of_body,
                "eventSource": "aws:sqs",
                "eventSourceARN": settings.queue_arn,
                "awsRegion": settings.region,
            })
        })
        .collect();
    json!({ "Records": records })
}
