//! The polling itself: receive, invoke, delete.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{self, Instant},
};

use super::{Received, Settings, Source, record, verdict};
use crate::runtime::{Invoke, InvokeError};

/// Invocations at once where the mapping names no maximum: what Lambda begins with.
const POLLERS: usize = 5;
/// How long one receive waits for messages.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long to leave a queue alone that does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause before a throttled invocation is tried again; it doubles up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// The most bytes of one event.
const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;

/// Polls until `stop` turns true, then waits for the invocations under way.
pub async fn run(
    settings: Settings,
    source: Arc<dyn Source>,
    function: Arc<dyn Invoke>,
    mut stop: watch::Receiver<bool>,
) {
    let room = settings.maximum_concurrency.unwrap_or(POLLERS);
    let permits = Arc::new(Semaphore::new(room));
    let mapping = Arc::new(Mapping {
        settings,
        source,
        function,
    });
    while !*stop.borrow() {
        let round = async {
            let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
            Some((mapping.gather().await, permit))
        };
        let gathered = tokio::select! {
            gathered = round => gathered,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some((batches, permit)) = gathered else {
            break;
        };
        if !batches.is_empty() {
            tokio::spawn(Arc::clone(&mapping).carry(batches, permit));
        }
    }
    let all = u32::try_from(room).unwrap_or(u32::MAX);
    drop(permits.acquire_many(all).await);
}

struct Mapping {
    settings: Settings,
    source: Arc<dyn Source>,
    function: Arc<dyn Invoke>,
}

/// Messages for one invocation, and when the first of them comes back by itself.
struct Batch {
    messages: Vec<Received>,
    until: Instant,
}

impl Mapping {
    /// One batch of messages; several only where they are too large for one event. None if none came.
    async fn gather(&self) -> Vec<Batch> {
        let mut held = self.receive(self.settings.room(0), LONG_POLL).await;
        if held.is_empty() {
            return Vec::new();
        }
        let closes = Instant::now() + self.settings.window;
        let mut bytes = size(&held);
        while self.settings.room(held.len()) > 0 && bytes < MAX_EVENT_BYTES {
            let left = closes.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let more = self
                .receive(self.settings.room(held.len()), left.min(LONG_POLL))
                .await;
            bytes += size(&more);
            held.extend(more);
        }
        split(held)
    }

    async fn receive(&self, most: usize, wait: Duration) -> Vec<Received> {
        match self.source.receive(most, wait).await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::warn!(
                    queue = self.settings.queue_arn,
                    error,
                    "A queue could not be polled"
                );
                time::sleep(PAUSE).await;
                Vec::new()
            }
        }
    }

    /// One after the other: the order of a group must not change.
    async fn carry(self: Arc<Self>, batches: Vec<Batch>, permit: OwnedSemaphorePermit) {
        for batch in batches {
            self.deliver(batch).await;
        }
        drop(permit);
    }

    /// Invokes the function with a batch. Whatever is not deleted afterwards comes back by itself.
    async fn deliver(&self, batch: Batch) {
        let event: Bytes = record::event(&self.settings, &batch.messages)
            .to_string()
            .into();
        let Some(answer) = self.invoke(event, batch.until).await else {
            return;
        };
        let ids: BTreeSet<&str> = batch
            .messages
            .iter()
            .map(|message| message.id.as_str())
            .collect();
        let failed = if self.settings.reports_item_failures {
            verdict::failed_ids(&answer, &ids)
        } else {
            Ok(BTreeSet::new())
        };
        let failed = match failed {
            Ok(failed) => failed,
            Err(error) => {
                let function = &self.settings.function;
                tracing::error!(
                    function,
                    error,
                    "An answer does not say what failed; all of it comes back"
                );
                return;
            }
        };
        let done = batch
            .messages
            .iter()
            .filter(|message| !failed.contains(message.id.as_str()));
        let handles: Vec<String> = done.map(|message| message.handle.clone()).collect();
        for some in handles.chunks(10) {
            if let Err(error) = self.source.delete(some).await {
                let queue = &self.settings.queue_arn;
                tracing::warn!(
                    queue,
                    error,
                    "Messages were carried out and not deleted; they come again"
                );
            }
        }
    }

    /// The function's answer. A throttled invocation is tried again until the messages are visible to
    /// others.
    async fn invoke(&self, event: Bytes, until: Instant) -> Option<Bytes> {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let error = match self.function.invoke(event.clone()).await {
                Ok(answer) => return Some(answer),
                Err(error) => error,
            };
            let again = Instant::now() + backoff;
            if !matches!(error, InvokeError::Throttled(_)) || again >= until {
                let (function, queue) = (&self.settings.function, &self.settings.queue_arn);
                tracing::warn!(function, queue, %error, "A batch failed; it comes back");
                return None;
            }
            time::sleep_until(again).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }
}

fn size(messages: &[Received]) -> usize {
    messages.iter().map(Received::bytes).sum()
}

/// As few batches as fit into an event each, in order.
fn split(messages: Vec<Received>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        bytes += message.bytes();
        if let Some(batch) = batches.last_mut().filter(|_| bytes <= MAX_EVENT_BYTES) {
            batch.until = batch.until.min(message.hidden_until);
            batch.messages.push(message);
        } else {
            bytes = message.bytes();
            batches.push(Batch {
                until: message.hidden_until,
                messages: vec![message],
            });
        }
    }
    batches
}
