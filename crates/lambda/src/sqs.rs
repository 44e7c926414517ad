//! Steps over SQS: what the relay hands over becomes messages.

use std::{collections::HashMap, fmt, sync::Arc};

use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use nightshift_engine::{
    Clock, causes,
    relay::{Carrier, again_at, alike},
};
use nightshift_store::{LeasedStep, Settlement};

use crate::{
    Queue, Queues,
    aws::{Aws, LazySqs},
};

/// Messages in one request, at most (SQS's own limit).
const MOST_ENTRIES: usize = 10;
/// Bytes of all bodies in one request, at most. SQS takes 1 MiB since August 2025 and took 256 KiB
/// before, as stand-ins for it still do; our steps are a few hundred bytes.
const MOST_BYTES: usize = 256 * 1024;

/// The refusals of one entry that sending it again cannot change.
const HOPELESS: [&str; 3] = [
    "InvalidMessageContents",
    "InvalidParameterValue",
    "MessageTooLong",
];

/// Sends steps to their queues.
pub struct Sqs {
    client: LazySqs,
    queues: Queues,
    clock: Arc<dyn Clock>,
}

/// One message to be: the rows that it stands for.
struct Entry<'a> {
    rows: Vec<&'a LeasedStep>,
    body: String,
}

impl Sqs {
    /// Sends to `queues`, of the service at `endpoint` or else of the one that the queues' URLs name.
    #[must_use]
    pub fn new(aws: Aws, queues: Queues, endpoint: Option<String>, clock: Arc<dyn Clock>) -> Self {
        let endpoint = endpoint.unwrap_or_else(|| queues.endpoint().to_owned());
        Self {
            client: LazySqs::new(aws, endpoint),
            queues,
            clock,
        }
    }

    pub(crate) fn client(&self) -> &aws_sdk_sqs::Client {
        self.client.client()
    }

    pub(crate) const fn queues(&self) -> &Queues {
        &self.queues
    }

    /// Sends messages that fit in one request; tells what became of each row.
    async fn send(&self, queue: Queue, entries: Vec<Entry<'_>>) -> Vec<(i64, Settlement)> {
        let request = entries
            .iter()
            .enumerate()
            .filter_map(|(number, entry)| message(queue, number, entry))
            .collect();
        let answer = self
            .client()
            .send_message_batch()
            .queue_url(self.queues.url(queue))
            .set_entries(Some(request))
            .send()
            .await;
        let fate: Box<dyn Fn(usize) -> Fate> = match answer {
            Err(error) => {
                let error = causes(&error);
                tracing::warn!(%queue, error, "A queue took nothing; its steps are sent again");
                Box::new(move |_| Fate::Failed(error.clone()))
            }
            Ok(answer) => {
                let is = |id: &str, number: usize| id.parse() == Ok(number);
                Box::new(move |number| {
                    if answer
                        .successful()
                        .iter()
                        .any(|entry| is(entry.id(), number))
                    {
                        return Fate::Accepted;
                    }
                    let failed = answer.failed().iter().find(|entry| is(entry.id(), number));
                    failed.map_or_else(
                        || Fate::Failed("the queue said nothing".to_owned()),
                        refused,
                    )
                })
            }
        };
        let mut told = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let fate = fate(number);
            for row in &entry.rows {
                told.push((row.id, self.settlement(queue, row, fate.clone())));
            }
        }
        told
    }

    fn settlement(&self, queue: Queue, row: &LeasedStep, fate: Fate) -> Settlement {
        match fate {
            Fate::Accepted => Settlement::Done,
            // A queue that is down must park nothing: it comes back, however long that takes.
            Fate::Failed(error) => Settlement::Again {
                due_at: again_at(row.attempt, self.clock.now()),
                error: format!("the queue {queue} did not take it: {error}"),
            },
            Fate::Hopeless(error) => {
                tracing::error!(outbox.id = row.id, %queue, error, "Parked a step that its queue refuses");
                Settlement::Dead {
                    error: format!("the queue {queue} refuses it: {error}"),
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Fate {
    Accepted,
    Failed(String),
    Hopeless(String),
}

fn refused(entry: &BatchResultErrorEntry) -> Fate {
    let words = format!("{}: {}", entry.code(), entry.message().unwrap_or_default());
    if entry.sender_fault() && HOPELESS.iter().any(|code| entry.code().ends_with(code)) {
        Fate::Hopeless(words)
    } else {
        Fate::Failed(words)
    }
}

impl Carrier for Sqs {
    fn in_a_batch(&self) -> usize {
        MOST_ENTRIES
    }

    fn batches(&self, leased: Vec<LeasedStep>) -> Vec<Vec<LeasedStep>> {
        by_queue(leased)
            .into_values()
            .flat_map(|steps| requests(alike(steps)))
            .map(|entries| entries.into_iter().flatten().collect())
            .collect()
    }

    fn carry<'a>(&'a self, batch: &'a [LeasedStep]) -> BoxFuture<'a, Vec<Settlement>> {
        async move {
            let mut sends = Vec::new();
            let mut told: HashMap<i64, Settlement> = HashMap::new();
            for (queue, steps) in by_queue(batch.iter().collect()) {
                let Some(queue) = queue else {
                    let error = "no queue carries steps of this kind".to_owned();
                    told.extend(steps.iter().map(|step| {
                        let error = error.clone();
                        (step.id, Settlement::Dead { error })
                    }));
                    continue;
                };
                for entries in requests(alike(steps)) {
                    let entries = entries.into_iter().map(Entry::of).collect();
                    sends.push(self.send(queue, entries));
                }
            }
            told.extend(join_all(sends).await.into_iter().flatten());
            // Each row was told of, so the answers stand where their rows stand.
            batch
                .iter()
                .map_while(|step| told.remove(&step.id))
                .collect()
        }
        .boxed()
    }
}

impl<'a> Entry<'a> {
    /// One message for all copies of a step. It is sent after each of them was committed, so whoever
    /// carries it out sees what each copy was written for.
    fn of(rows: Vec<&'a LeasedStep>) -> Self {
        let body = rows.first().map(|row| body(row)).unwrap_or_default();
        Self { rows, body }
    }
}

/// The message's text: the step as its row has it. A dead letter that was never JSON is kept as a text
/// and goes back as it came.
fn body(row: &LeasedStep) -> String {
    let text = row.payload.as_str();
    text.map_or_else(|| row.payload.to_string(), ToOwned::to_owned)
}

fn message(queue: Queue, number: usize, entry: &Entry<'_>) -> Option<SendMessageBatchRequestEntry> {
    let row = entry.rows.first()?;
    // On a standard queue the group is for fairness: no tenant's flood holds the others up.
    let message = SendMessageBatchRequestEntry::builder()
        .id(number.to_string())
        .message_body(&entry.body)
        .message_group_id(&row.group_key);
    let message = if queue.is_fifo() {
        message.message_deduplication_id(dedup_id(row))
    } else {
        message
    };
    message.build().ok()
}

/// What makes SQS drop a message for five minutes: the same row again.
///
/// The attempt is not part of it. A row is sent again only where we do not know that it was accepted (a
/// lost answer, a crash before its deletion): then a copy is in the queue and the second one should be dropped, or
/// none is and nothing drops it. A new wake is a new row, and so is a parked step that returns from a dead-letter
/// queue. The time keeps rows of a restored database, whose numbers begin again, from being taken for
/// their predecessors.
fn dedup_id(row: &LeasedStep) -> String {
    format!("{}-{}", row.id, row.created_at.timestamp_micros())
}

fn by_queue<T: AsRef<LeasedStep>>(
    steps: Vec<T>,
) -> std::collections::BTreeMap<Option<Queue>, Vec<T>> {
    let mut queues = std::collections::BTreeMap::<_, Vec<T>>::new();
    for step in steps {
        let queue = Queue::of_kind(&step.as_ref().kind);
        queues.entry(queue).or_default().push(step);
    }
    queues
}

/// Cuts messages into requests that SQS takes.
fn requests<T: AsRef<LeasedStep>>(messages: Vec<Vec<T>>) -> Vec<Vec<Vec<T>>> {
    let mut requests: Vec<Vec<Vec<T>>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        let size = message.first().map_or(0, |row| body(row.as_ref()).len());
        match requests.last_mut() {
            Some(request) if request.len() < MOST_ENTRIES && bytes + size <= MOST_BYTES => {
                bytes += size;
                request.push(message);
            }
            Some(_) | None => {
                bytes = size;
                requests.push(vec![message]);
            }
        }
    }
    requests
}

impl fmt::Debug for Sqs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqs")
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}
