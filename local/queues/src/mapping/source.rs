//! What a mapping needs of a queue, and the queues of this machine as that.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Received, SourceFacts};
use crate::{
    Queues, Refusal,
    actions::{
        DeleteEntry, DeleteMessageBatch, GetQueueAttributes, ReceiveMessage, ReceivedMessage,
    },
};

/// A queue as a mapping uses it.
pub trait Source: fmt::Debug + Send + Sync {
    /// Up to `most` messages; where there are none, the first that come within `wait`.
    fn receive(&self, most: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Received>, String>>;

    /// Deletes messages by the handles they were received with, at most ten.
    fn delete<'a>(&'a self, handles: &'a [String]) -> BoxFuture<'a, Result<(), String>>;
}

/// One of this machine's queues.
#[derive(Debug, Clone)]
pub struct Polled {
    queues: Queues,
    url: String,
    facts: SourceFacts,
}

impl Polled {
    /// Looks the queue up that a function with this timeout shall be mapped to.
    pub fn find(queues: Queues, url: String, function_timeout: Duration) -> Result<Self, Refusal> {
        let attribute_names = vec!["All".to_owned()];
        let asked = GetQueueAttributes {
            queue_url: url.clone(),
            attribute_names,
        };
        let attributes = queues.perform(asked)?.attributes;
        let visibility = attributes
            .get("VisibilityTimeout")
            .and_then(|seconds| seconds.parse().ok());
        let facts = SourceFacts {
            is_fifo: attributes.contains_key("FifoQueue"),
            visibility: Duration::from_secs(visibility.unwrap_or_default()),
            function_timeout,
        };
        Ok(Self { queues, url, facts })
    }

    /// What a mapping's settings are checked against.
    #[must_use]
    pub const fn facts(&self) -> SourceFacts {
        self.facts
    }

    async fn poll(&self, most: usize, wait: Duration) -> Result<Vec<Received>, Refusal> {
        let request = ReceiveMessage {
            queue_url: self.url.clone(),
            max_number_of_messages: i64::try_from(most).ok(),
            // Whole seconds, and never none: a short poll may overlook messages.
            wait_time_seconds: i64::try_from(wait.as_secs().max(1)).ok(),
            message_system_attribute_names: vec!["All".to_owned()],
            message_attribute_names: vec!["All".to_owned()],
            ..ReceiveMessage::default()
        };
        let answer = self.queues.receive(request).await?;
        let hidden_until = Instant::now() + self.facts.visibility;
        Ok(answer
            .messages
            .into_iter()
            .map(|message| received(message, hidden_until))
            .collect())
    }
}

impl Source for Polled {
    fn receive(&self, most: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Received>, String>> {
        Box::pin(async move {
            self.poll(most, wait)
                .await
                .map_err(|refusal| refusal.to_string())
        })
    }

    fn delete<'a>(&'a self, handles: &'a [String]) -> BoxFuture<'a, Result<(), String>> {
        let entries = handles
            .iter()
            .enumerate()
            .map(|(number, handle)| DeleteEntry {
                id: number.to_string(),
                receipt_handle: handle.clone(),
            });
        let request = DeleteMessageBatch {
            queue_url: self.url.clone(),
            entries: entries.collect(),
        };
        Box::pin(async move {
            let answer = self
                .queues
                .perform(request)
                .map_err(|refusal| refusal.to_string())?;
            match answer.failed.first() {
                None => Ok(()),
                Some(failure) => Err(format!("{}: {}", failure.code, failure.message)),
            }
        })
    }
}

fn received(message: ReceivedMessage, hidden_until: Instant) -> Received {
    let sent = message.message_attributes.into_iter().map(|(name, value)| {
        let mut fields = Map::new();
        if let Some(text) = value.string_value {
            fields.insert("stringValue".to_owned(), json!(text));
        }
        if let Some(bytes) = value.binary_value {
            fields.insert("binaryValue".to_owned(), json!(bytes));
        }
        fields.insert("stringListValues".to_owned(), json!([]));
        fields.insert("binaryListValues".to_owned(), json!([]));
        fields.insert("dataType".to_owned(), json!(value.data_type));
        (name, Value::Object(fields))
    });
    Received {
        message_attributes: sent.collect(),
        id: message.message_id,
        handle: message.receipt_handle,
        body: message.body,
        md5_of_body: message.md5_of_body,
        attributes: message.attributes,
        hidden_until,
    }
}
