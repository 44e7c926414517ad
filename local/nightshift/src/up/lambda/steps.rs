//! The queues of steps, each with its dead-letter queue, and their mappings to functions.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use nightshift_lambda::Queue;
use nightshift_queues::{
    Queues, Refusal,
    actions::{CreateQueue, SetQueueAttributes},
    mapping::{Polled, Settings},
    runtime::Host,
};
use serde_json::json;

use super::functions::FUNCTIONS;

/// What the queues' names begin with.
pub(super) const PREFIX: &str = "nightshift-";
/// Receives after which a message is given up.
const MAX_RECEIVES: u32 = 5;
/// How long a queue of what was given up keeps it, in seconds: as long as SQS can.
const DEAD_RETENTION_S: u32 = 14 * 24 * 3_600;

/// Creates every queue, or brings it up to date.
pub(super) fn create(queues: &Queues) -> Result<()> {
    for queue in Queue::ALL {
        let dead = name(queue.dead_name());
        put(
            queues,
            &dead,
            queue.is_fifo(),
            [("MessageRetentionPeriod", DEAD_RETENTION_S.to_string())],
        )?;
        let dead_arn = queues.with(|account, _| account.arn(&dead));
        let redrive = json!({"deadLetterTargetArn": dead_arn, "maxReceiveCount": MAX_RECEIVES});
        let visibility_s = 6 * timeout_s(queue)?;
        let attributes = [
            ("VisibilityTimeout", visibility_s.to_string()),
            ("RedrivePolicy", redrive.to_string()),
        ];
        put(queues, &name(queue.name()), queue.is_fifo(), attributes)?;
    }
    Ok(())
}

/// A mapping for each queue, checked as Lambda checks it.
pub(super) fn mappings(queues: &Queues, host: &Host) -> Result<Vec<(Settings, Polled)>> {
    let mapping = |queue: Queue| -> Result<(Settings, Polled)> {
        let function = function(queue);
        let deployed = host
            .function(function)
            .with_context(|| format!("no function {function}"))?;
        let name = name(queue.name());
        let (arn, url) = queues.with(|account, _| (account.arn(&name), account.url(&name)));
        let settings = Settings {
            queue_arn: arn,
            region: host.owner().region.clone(),
            function: function.to_owned(),
            batch_size: batch_size(queue),
            window: Duration::ZERO,
            maximum_concurrency: Some(deployed.reserved_concurrency),
            reports_item_failures: true,
        };
        let source = Polled::find(queues.clone(), url, deployed.timeout)?;
        settings.check(source.facts())?;
        Ok((settings, source))
    };
    Queue::ALL.into_iter().map(mapping).collect()
}

/// Messages for one invocation. What takes long and may fail alone comes in small ones.
const fn batch_size(queue: Queue) -> usize {
    match queue {
        Queue::Claim | Queue::Dispatch | Queue::PoolRefill | Queue::WriteBack => 10,
        Queue::Provision | Queue::Retire => 4,
    }
}

/// The function that a queue triggers has its name.
fn function(queue: Queue) -> &'static str {
    queue.name().trim_end_matches(".fifo")
}

fn timeout_s(queue: Queue) -> Result<u64> {
    let wanted = function(queue);
    let found = FUNCTIONS.iter().find(|limits| limits.name == wanted);
    found
        .map(|limits| limits.timeout_s)
        .with_context(|| format!("no function {wanted}"))
}

fn name(queue: &str) -> String {
    format!("{PREFIX}{queue}")
}

/// Two calls: an existing queue refuses to be created with other attributes.
fn put<const N: usize>(
    queues: &Queues,
    name: &str,
    is_fifo: bool,
    attributes: [(&str, String); N],
) -> Result<(), Refusal> {
    let kind = is_fifo.then(|| ("FifoQueue".to_owned(), "true".to_owned()));
    let create = CreateQueue {
        queue_name: name.to_owned(),
        attributes: kind.into_iter().collect(),
        ..CreateQueue::default()
    };
    let queue_url = queues.perform(create)?.queue_url;
    let attributes: BTreeMap<_, _> = attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    queues.perform(SetQueueAttributes {
        queue_url,
        attributes,
    })?;
    Ok(())
}
