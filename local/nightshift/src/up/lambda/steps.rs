//! The queues of steps, each with its dead-letter queue and its function.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use nightshift_lambda::Queue;
use serde_json::json;

use super::{Functions, functions::FUNCTIONS};

/// What the queues' names begin with.
pub(super) const PREFIX: &str = "nightshift-";
/// How long a queue of what was given up keeps it, in seconds: as long as SQS can.
const DEAD_RETENTION_S: u32 = 14 * 24 * 3_600;

/// A queue of steps as it is deployed.
#[derive(Debug)]
pub(super) struct QueueSpec {
    /// Its name.
    pub(super) name: String,
    /// The name of the queue for what it gives up.
    pub(super) dead: String,
    /// Whether it keeps the order of groups.
    pub(super) is_fifo: bool,
    /// The function that it triggers.
    pub(super) function: &'static str,
    /// How long that may take.
    pub(super) timeout: Duration,
    /// Messages for one invocation.
    pub(super) batch_size: usize,
    /// How long messages are gathered: somebody waits for most of these steps.
    pub(super) window: Duration,
    /// Invocations at once.
    pub(super) concurrency: usize,
}

/// Every queue.
pub(super) fn all(how: &Functions) -> Result<Vec<QueueSpec>> {
    let specs = Queue::ALL.into_iter().map(|queue| spec(queue, how));
    specs.collect()
}

fn spec(queue: Queue, how: &Functions) -> Result<QueueSpec> {
    // The function that a queue triggers has its name.
    let function = queue.name().trim_end_matches(".fifo");
    let limits = FUNCTIONS.iter().find(|limits| limits.name == function);
    let limits = limits.with_context(|| format!("no function {function}"))?;
    Ok(QueueSpec {
        name: format!("{PREFIX}{}", queue.name()),
        dead: format!("{PREFIX}{}", queue.dead_name()),
        is_fifo: queue.is_fifo(),
        function: limits.name,
        timeout: limits.timeout(how),
        batch_size: batch_size(queue),
        window: Duration::ZERO,
        concurrency: limits.concurrency,
    })
}

impl QueueSpec {
    /// What the queue is told, by SQS's names.
    pub(super) fn attributes(&self, dead_arn: &str) -> BTreeMap<String, String> {
        let visibility_s = 6 * self.timeout.as_secs();
        let redrive =
            json!({"deadLetterTargetArn": dead_arn, "maxReceiveCount": Queue::MAX_RECEIVES});
        BTreeMap::from([
            ("VisibilityTimeout".to_owned(), visibility_s.to_string()),
            ("RedrivePolicy".to_owned(), redrive.to_string()),
        ])
    }
}

/// What every dead-letter queue is told.
pub(super) fn dead_attributes() -> BTreeMap<String, String> {
    BTreeMap::from([(
        "MessageRetentionPeriod".to_owned(),
        DEAD_RETENTION_S.to_string(),
    )])
}

/// What takes long and may fail alone comes in small batches.
const fn batch_size(queue: Queue) -> usize {
    match queue {
        Queue::Claim | Queue::Dispatch | Queue::PoolRefill | Queue::WriteBack => 10,
        Queue::Provision | Queue::Retire => 4,
    }
}
