//! Which queue carries which step, and where the queues are.

use std::{fmt, str::FromStr};

use nightshift_protocol::Step;

/// A queue of steps, with the function that it triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// Wakes of a pool's one coordinator, one after the other: FIFO, a group per pool.
    Claim,
    /// Starting and stopping of sandboxes, a group per tenant.
    Dispatch,
    /// Bringing pools to their targets, a group per pool.
    PoolRefill,
    /// Making of sandboxes, a group per pool.
    Provision,
    /// Destroying of sandboxes, a group each.
    Retire,
    /// Telling senders what was found, a group per tenant.
    WriteBack,
}

impl Queue {
    /// Receives after which a queue gives a message up.
    pub const MAX_RECEIVES: u32 = 5;

    /// Every queue.
    pub const ALL: [Self; 6] = [
        Self::Claim,
        Self::Dispatch,
        Self::PoolRefill,
        Self::Provision,
        Self::Retire,
        Self::WriteBack,
    ];

    /// The queue that carries a step.
    #[must_use]
    pub const fn of(step: &Step) -> Self {
        match step {
            Step::ClaimWake { .. } => Self::Claim,
            Step::Dispatch { .. } | Step::Rest { .. } => Self::Dispatch,
            Step::Refill { .. } => Self::PoolRefill,
            Step::Provision { .. } => Self::Provision,
            Step::Retire { .. } => Self::Retire,
            Step::WriteBack { .. } => Self::WriteBack,
        }
    }

    /// The queue that carries steps of the outbox's `kind`. The kind is known even where the step itself
    /// cannot be read, because a newer version wrote it.
    #[must_use]
    pub fn of_kind(kind: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|queue| queue.kinds().contains(&kind))
    }

    /// The kinds of steps that it carries, the commonest first.
    #[must_use]
    pub const fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Claim => &["claim_wake"],
            Self::Dispatch => &["dispatch", "rest"],
            Self::PoolRefill => &["refill"],
            Self::Provision => &["provision"],
            Self::Retire => &["retire"],
            Self::WriteBack => &["write_back"],
        }
    }

    /// Its name, behind the prefix that an installation chose.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim.fifo",
            Self::Dispatch => "dispatch",
            Self::PoolRefill => "pool-refill",
            Self::Provision => "provision",
            Self::Retire => "retire",
            Self::WriteBack => "write-back",
        }
    }

    /// The name of the queue in which its messages end that were received too often.
    #[must_use]
    pub const fn dead_name(self) -> &'static str {
        match self {
            Self::Claim => "claim-dead.fifo",
            Self::Dispatch => "dispatch-dead",
            Self::PoolRefill => "pool-refill-dead",
            Self::Provision => "provision-dead",
            Self::Retire => "retire-dead",
            Self::WriteBack => "write-back-dead",
        }
    }

    /// Whether SQS keeps the order of a group's messages and drops duplicates.
    #[must_use]
    pub const fn is_fifo(self) -> bool {
        matches!(self, Self::Claim)
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the queues are: everything of their URLs before the name, for example
/// `https://sqs.eu-west-1.amazonaws.com/123456789012/nightshift-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queues {
    prefix: String,
}

/// The text is not the beginning of a queue's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a URL like `https://sqs.REGION.amazonaws.com/ACCOUNT/PREFIX`")]
pub struct NotAQueuePrefix;

impl Queues {
    /// The URL of a queue.
    #[must_use]
    pub fn url(&self, queue: Queue) -> String {
        format!("{}{}", self.prefix, queue.name())
    }

    /// The URL of a queue's dead-letter queue.
    #[must_use]
    pub fn dead_url(&self, queue: Queue) -> String {
        format!("{}{}", self.prefix, queue.dead_name())
    }

    /// Scheme and host of the service that holds them.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        let after_scheme = self.prefix.find("://").map_or(0, |at| at + 3);
        let host = &self.prefix[after_scheme..];
        let end = host.find('/').unwrap_or(host.len());
        &self.prefix[..after_scheme + end]
    }
}

impl FromStr for Queues {
    type Err = NotAQueuePrefix;

    fn from_str(text: &str) -> Result<Self, NotAQueuePrefix> {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .ok_or(NotAQueuePrefix)?;
        let (host, path) = rest.split_once('/').ok_or(NotAQueuePrefix)?;
        if host.is_empty() || !path.contains('/') || text.contains(char::is_whitespace) {
            return Err(NotAQueuePrefix);
        }
        Ok(Self {
            prefix: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use nightshift_domain::{Epoch, InvestigationId, PoolId, SandboxId};

    use super::*;

    #[test]
    fn every_step_has_the_queue_of_its_kind() {
        let (pool, sandbox) = (PoolId::generate(), SandboxId::generate());
        let (investigation, epoch) = (InvestigationId::generate(), Epoch(1));
        let steps = [
            Step::ClaimWake { pool },
            Step::Dispatch {
                investigation,
                sandbox,
                epoch,
            },
            Step::Rest {
                investigation,
                epoch,
            },
            Step::Refill { pool },
            Step::Provision { sandbox },
            Step::Retire { sandbox },
            Step::WriteBack { investigation },
        ];
        for step in steps {
            assert_eq!(Queue::of_kind(step.kind()), Some(Queue::of(&step)));
        }
        assert_eq!(Queue::of_kind("dance"), None);
        let kinds: usize = Queue::ALL.iter().map(|queue| queue.kinds().len()).sum();
        assert_eq!(kinds, steps.len());
    }

    #[test]
    fn a_fifo_queues_dead_letters_are_in_a_fifo_queue() {
        for queue in Queue::ALL {
            for name in [queue.name(), queue.dead_name()] {
                assert_eq!(name.strip_suffix(".fifo").is_some(), queue.is_fifo());
            }
            assert_ne!(queue.dead_name(), queue.name());
        }
        assert!(Queue::Claim.is_fifo() && !Queue::Dispatch.is_fifo());
    }

    #[test]
    fn urls_begin_with_the_prefix() {
        let text = "https://sqs.eu-west-1.amazonaws.com/123456789012/nightshift-";
        let queues: Queues = text.parse().unwrap();
        assert_eq!(queues.url(Queue::Claim), format!("{text}claim.fifo"));
        assert_eq!(queues.dead_url(Queue::Retire), format!("{text}retire-dead"));
        assert_eq!(queues.endpoint(), "https://sqs.eu-west-1.amazonaws.com");
        for wrong in [
            "",
            "sqs/1/",
            "https://",
            "https://sqs/",
            "ftp://sqs/1/a",
            "https://sqs/1 /",
        ] {
            assert_eq!(wrong.parse::<Queues>(), Err(NotAQueuePrefix), "{wrong}");
        }
    }
}
