//! A queue's attributes that can be set: their names, ranges and defaults.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::redrive::{RedriveAllowPolicy, RedrivePolicy};
use crate::refusal::{Code, Refusal};

/// What a queue was told to be. Times are seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    delay: i64,
    maximum_message_bytes: i64,
    retention: i64,
    wait: i64,
    visibility: i64,
    pub(crate) redrive: Option<RedrivePolicy>,
    pub(crate) redrive_allow: Option<RedriveAllowPolicy>,
    policy: Option<String>,
    kms_key: Option<String>,
    kms_reuse: i64,
    managed_encryption: bool,
    pub(crate) fifo: Option<Fifo>,
}

/// What only FIFO queues have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Fifo {
    pub(crate) content_based_deduplication: bool,
    pub(crate) deduplication_per_group: bool,
    throughput_per_group: bool,
}

impl Settings {
    /// The documented defaults.
    pub(crate) fn new(is_fifo: bool) -> Self {
        Self {
            delay: 0,
            maximum_message_bytes: 1_048_576,
            retention: 345_600,
            wait: 0,
            visibility: 30,
            redrive: None,
            redrive_allow: None,
            policy: None,
            kms_key: None,
            kms_reuse: 300,
            managed_encryption: true,
            fifo: is_fifo.then(Fifo::default),
        }
    }

    /// How long the queue delays its messages.
    pub(crate) fn delay(&self) -> TimeDelta {
        TimeDelta::seconds(self.delay)
    }

    /// How long a received message stays hidden unless the receiver says otherwise.
    pub(crate) fn visibility(&self) -> TimeDelta {
        TimeDelta::seconds(self.visibility)
    }

    /// How long the queue keeps a message.
    pub(crate) fn retention(&self) -> TimeDelta {
        TimeDelta::seconds(self.retention)
    }

    /// How long a receive waits unless it says otherwise.
    pub(crate) fn wait(&self) -> TimeDelta {
        TimeDelta::seconds(self.wait)
    }

    /// The largest message in bytes.
    pub(crate) fn maximum_message_bytes(&self) -> usize {
        usize::try_from(self.maximum_message_bytes).unwrap_or(limits::MESSAGE_BYTES)
    }

    /// Sets attributes by their names. An error may leave some set: work on a copy.
    pub(crate) fn apply(&mut self, attributes: &BTreeMap<String, String>) -> Result<(), Refusal> {
        for (name, value) in attributes {
            self.set(name, value)?;
        }
        match self.fifo {
            Some(fifo) if fifo.throughput_per_group && !fifo.deduplication_per_group => {
                Err(invalid(
                    "FifoThroughputLimit",
                    "perMessageGroupId needs DeduplicationScope messageGroup",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        match (name, &mut self.fifo) {
            ("DelaySeconds", _) => self.delay = within(name, value, (0, limits::DELAY_SECONDS))?,
            ("MaximumMessageSize", _) => {
                let range = (limits::LEAST_MAXIMUM_MESSAGE_BYTES, 1_048_576);
                self.maximum_message_bytes = within(name, value, range)?;
            }
            ("MessageRetentionPeriod", _) => {
                self.retention = within(name, value, limits::RETENTION_SECONDS)?;
            }
            ("ReceiveMessageWaitTimeSeconds", _) => {
                self.wait = within(name, value, (0, limits::WAIT_SECONDS))?;
            }
            ("VisibilityTimeout", _) => {
                self.visibility = within(name, value, (0, limits::VISIBILITY_SECONDS))?;
            }
            ("RedrivePolicy", _) => {
                self.redrive = unless_empty(value).map(RedrivePolicy::parse).transpose()?;
            }
            ("RedriveAllowPolicy", _) => {
                self.redrive_allow = unless_empty(value)
                    .map(RedriveAllowPolicy::parse)
                    .transpose()?;
            }
            ("Policy", _) => {
                let is_object =
                    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(value)
                        .is_ok();
                if !value.is_empty() && !is_object {
                    return Err(invalid(name, "it is not a JSON object"));
                }
                self.policy = unless_empty(value).map(str::to_owned);
            }
            ("KmsMasterKeyId", _) => self.kms_key = unless_empty(value).map(str::to_owned),
            ("KmsDataKeyReusePeriodSeconds", _) => {
                self.kms_reuse = within(name, value, (60, 86_400))?;
            }
            ("SqsManagedSseEnabled", _) => self.managed_encryption = boolean(name, value)?,
            ("FifoQueue", Some(_)) if value == "true" => {}
            ("FifoQueue", Some(_)) => return Err(invalid(name, "a queue's type cannot change")),
            ("ContentBasedDeduplication", Some(fifo)) => {
                fifo.content_based_deduplication = boolean(name, value)?;
            }
            ("DeduplicationScope", Some(fifo)) => {
                fifo.deduplication_per_group = one_of(name, value, "queue", "messageGroup")?;
            }
            ("FifoThroughputLimit", Some(fifo)) => {
                fifo.throughput_per_group = one_of(name, value, "perQueue", "perMessageGroupId")?;
            }
            (_, _) => {
                return Err(
                    Code::InvalidAttributeName.because(format!("Unknown Attribute {name}."))
                );
            }
        }
        Ok(())
    }

    /// The attributes as `GetQueueAttributes` gives them, and as `CreateQueue` compares them.
    pub(crate) fn attributes(&self) -> BTreeMap<&'static str, String> {
        let mut all = BTreeMap::from([
            ("DelaySeconds", self.delay.to_string()),
            ("MaximumMessageSize", self.maximum_message_bytes.to_string()),
            ("MessageRetentionPeriod", self.retention.to_string()),
            ("ReceiveMessageWaitTimeSeconds", self.wait.to_string()),
            ("VisibilityTimeout", self.visibility.to_string()),
            ("SqsManagedSseEnabled", self.managed_encryption.to_string()),
        ]);
        let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
        let optional = [
            (
                "RedrivePolicy",
                self.redrive
                    .as_ref()
                    .map(|policy| json(serde_json::to_string(policy))),
            ),
            (
                "RedriveAllowPolicy",
                self.redrive_allow
                    .as_ref()
                    .map(|policy| json(serde_json::to_string(policy))),
            ),
            ("Policy", self.policy.clone()),
            ("KmsMasterKeyId", self.kms_key.clone()),
            (
                "KmsDataKeyReusePeriodSeconds",
                self.kms_key.as_ref().map(|_| self.kms_reuse.to_string()),
            ),
        ];
        all.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        if let Some(fifo) = self.fifo {
            let scope = if fifo.deduplication_per_group {
                "messageGroup"
            } else {
                "queue"
            };
            let limit = if fifo.throughput_per_group {
                "perMessageGroupId"
            } else {
                "perQueue"
            };
            all.insert("FifoQueue", "true".to_owned());
            all.insert(
                "ContentBasedDeduplication",
                fifo.content_based_deduplication.to_string(),
            );
            all.insert("DeduplicationScope", scope.to_owned());
            all.insert("FifoThroughputLimit", limit.to_owned());
        }
        all
    }
}

fn invalid(name: &str, why: &str) -> Refusal {
    Code::InvalidAttributeValue.because(format!(
        "Invalid value for the parameter {name}. Reason: {why}."
    ))
}

fn within(name: &str, value: &str, (least, most): (i64, i64)) -> Result<i64, Refusal> {
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(invalid(
            name,
            &format!("it must be an integer from {least} to {most}"),
        )),
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, Refusal> {
    one_of(name, value, "false", "true")
}

/// Whether it is the second of the two.
fn one_of(name: &str, value: &str, first: &str, second: &str) -> Result<bool, Refusal> {
    match value {
        value if value == first => Ok(false),
        value if value == second => Ok(true),
        _ => Err(invalid(name, &format!("it must be {first} or {second}"))),
    }
}

fn unless_empty(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}
