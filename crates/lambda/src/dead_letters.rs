//! Takes what the queues gave up out of the dead-letter queues and parks it in the outbox, where people
//! look and from where it is sent on its way again.

use std::{fmt, sync::Arc};

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use nightshift_engine::{
    Clock, causes, dead_letters,
    steps::{self, StepError},
};
use nightshift_store::{GivenUp, Store, StoreError};
use serde_json::Value;
use tokio::time::Instant;

use crate::{Queue, Sqs};

/// Messages taken at once, at most (SQS's own limit).
const AT_ONCE: i32 = 10;
/// How long a message stays hidden after it was taken, in seconds: long enough to park and delete it. One
/// whose deletion failed shows itself again, and is known by then.
const HIDDEN_S: i32 = 60;

/// The dead-letter queues of an installation.
pub struct DeadLetters {
    sqs: Arc<Sqs>,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl DeadLetters {
    /// Parks in `store` what the dead-letter queues of `sqs` hold.
    #[must_use]
    pub const fn new(sqs: Arc<Sqs>, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { sqs, store, clock }
    }

    /// Parks what each dead-letter queue holds, until `until` at the latest; returns how many messages were new.
    /// A queue that does not answer is passed over: it is asked again at the next sweep.
    ///
    /// A message is deleted only once it is parked; a crash in between shows it again, and it is not
    /// parked twice.
    #[tracing::instrument(name = "lambda.dead_letters.park", skip_all)]
    pub async fn park(&self, until: Instant) -> Result<usize, StoreError> {
        let each = Queue::ALL.map(|queue| self.park_those_of(queue, until));
        let parked = try_join_all(each).await?;
        Ok(parked.into_iter().sum())
    }

    async fn park_those_of(&self, queue: Queue, until: Instant) -> Result<usize, StoreError> {
        let mut parked = 0;
        while Instant::now() < until {
            let messages = self.take(queue).await;
            if messages.is_empty() {
                break;
            }
            let now = self.clock.now();
            let letters: Vec<GivenUp> = messages
                .iter()
                .filter_map(|message| letter(queue, message, now))
                .collect();
            parked += dead_letters::park(&self.store, &*self.clock, &letters).await?;
            self.delete(queue, &messages).await;
        }
        Ok(parked)
    }

    async fn take(&self, queue: Queue) -> Vec<Message> {
        let taken = self
            .sqs
            .client()
            .receive_message()
            .queue_url(self.sqs.queues().dead_url(queue))
            .max_number_of_messages(AT_ONCE)
            .visibility_timeout(HIDDEN_S)
            .wait_time_seconds(0)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await;
        match taken {
            Ok(taken) => taken.messages.unwrap_or_default(),
            Err(error) => {
                let error = causes(&error);
                tracing::warn!(
                    queue = queue.dead_name(),
                    error,
                    "A dead-letter queue did not answer"
                );
                Vec::new()
            }
        }
    }

    async fn delete(&self, queue: Queue, messages: &[Message]) {
        let entries = messages
            .iter()
            .enumerate()
            .filter_map(|(number, message)| {
                let entry = DeleteMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .receipt_handle(message.receipt_handle()?);
                entry.build().ok()
            })
            .collect();
        let deleted = self
            .sqs
            .client()
            .delete_message_batch()
            .queue_url(self.sqs.queues().dead_url(queue))
            .set_entries(Some(entries))
            .send()
            .await;
        let failed = match deleted {
            Ok(deleted) => deleted.failed().len(),
            Err(error) => {
                let error = causes(&error);
                tracing::warn!(
                    queue = queue.dead_name(),
                    error,
                    "A dead-letter queue keeps what is parked"
                );
                return;
            }
        };
        if failed > 0 {
            tracing::warn!(
                queue = queue.dead_name(),
                failed,
                "A dead-letter queue keeps what is parked"
            );
        }
    }
}

/// What a message is to people. One that cannot be read stays whole, as a text, and would return to the
/// queue that it came from.
fn letter(queue: Queue, message: &Message, now: DateTime<Utc>) -> Option<GivenUp> {
    let attribute = |name: &MessageSystemAttributeName| message.attributes()?.get(name);
    let received = attribute(&MessageSystemAttributeName::ApproximateReceiveCount)
        .and_then(|count| count.parse().ok());
    let sent_at = attribute(&MessageSystemAttributeName::SentTimestamp)
        .and_then(|at| at.parse().ok())
        .and_then(DateTime::from_timestamp_millis);
    let group = attribute(&MessageSystemAttributeName::MessageGroupId);
    let body = message.body().unwrap_or_default();
    let read = serde_json::from_str::<Value>(body)
        .map_err(|error| StepError::Unreadable(error.to_string()))
        .and_then(|payload| Ok((steps::read(&payload)?.step, payload)));
    let (kind, payload, why) = match read {
        Ok((step, payload)) if Queue::of(&step) == queue => {
            let why = "no attempt succeeded; each one's error is in the function's log";
            (step.kind(), payload, why.to_owned())
        }
        Ok((step, payload)) => {
            let why = "it came by the wrong queue";
            (step.kind(), payload, why.to_owned())
        }
        Err(error) => {
            // PostgreSQL keeps no NUL, and SQS takes none.
            let text = Value::String(body.replace('\0', "\u{fffd}"));
            (*queue.kinds().first()?, text, error.to_string())
        }
    };
    let dead = queue.dead_name();
    Some(GivenUp {
        message_id: message.message_id()?.to_owned(),
        kind: kind.to_owned(),
        group_key: group.map_or_else(|| "unknown".to_owned(), ToOwned::to_owned),
        payload,
        received: received.unwrap_or_default(),
        sent_at: sent_at.unwrap_or(now),
        error: format!("given up by the queue {queue}, taken from {dead}: {why}"),
    })
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters")
            .field("sqs", &self.sqs)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::Message;
    use nightshift_domain::{PoolId, SandboxId};
    use nightshift_protocol::{Envelope, Step};

    use super::*;

    fn message(body: &str) -> Message {
        Message::builder()
            .message_id("5fea7756-0ea4-451a-a703-a558b933e274")
            .body(body)
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "6")
            .attributes(MessageSystemAttributeName::SentTimestamp, "1545082649183")
            .attributes(MessageSystemAttributeName::MessageGroupId, "sbx_1")
            .build()
    }

    fn read(queue: Queue, body: &str) -> GivenUp {
        letter(queue, &message(body), DateTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_letter_says_what_it_is_and_where_it_comes_from() {
        let sandbox = SandboxId::generate();
        let body = serde_json::to_string(&Envelope::new(Step::Retire { sandbox }, None)).unwrap();

        let letter = read(Queue::Retire, &body);

        assert_eq!((letter.kind.as_str(), letter.received), ("retire", 6));
        assert_eq!(letter.group_key, "sbx_1");
        assert_eq!(letter.sent_at.timestamp_millis(), 1_545_082_649_183);
        assert!(
            letter.error.contains("taken from retire-dead"),
            "{}",
            letter.error
        );
        assert_eq!(
            letter.payload,
            serde_json::from_str::<Value>(&body).unwrap()
        );
    }

    #[test]
    fn poison_keeps_its_bytes_and_the_queue_it_came_from() {
        for body in [
            "",
            "{",
            "not json",
            r#""a text""#,
            r#"{"a":"\u0000"}"#,
            r#"{ "v": 9, "step": {} }"#,
        ] {
            let letter = read(Queue::Provision, body);
            assert_eq!(letter.kind, "provision", "{body}");
            assert_eq!(letter.payload, Value::String(body.to_owned()));
            assert!(letter.error.contains("cannot be read"), "{}", letter.error);
        }
        let nul = read(Queue::Retire, "a\0b").payload;
        assert_eq!(nul, Value::String("a\u{fffd}b".to_owned()));
    }

    #[test]
    fn a_stray_returns_to_the_queue_of_its_kind() {
        let pool = PoolId::generate();
        let step = Step::Refill { pool };
        let body = serde_json::to_string(&Envelope::new(step, None)).unwrap();
        let letter = read(Queue::Claim, &body);
        assert_eq!(Queue::of_kind(&letter.kind), Some(Queue::PoolRefill));
        assert!(letter.error.contains("wrong queue"), "{}", letter.error);
    }
}
