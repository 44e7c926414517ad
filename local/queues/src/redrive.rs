//! Redrive policies: after how many receives a queue gives a message up, and to which queue.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits;
use crate::refusal::Refusal;

/// Where a queue puts messages that nobody could process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RedrivePolicy {
    /// The dead-letter queue.
    pub(crate) dead_letter_target_arn: String,
    /// Receives after which the next one gives the message up.
    pub(crate) max_receive_count: u32,
}

/// Which queues may use this one as their dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "redrivePermission", rename_all = "camelCase")]
pub(crate) enum RedriveAllowPolicy {
    /// Every queue of the account.
    AllowAll,
    /// None.
    DenyAll,
    /// Those named.
    #[serde(rename_all = "camelCase")]
    ByQueue {
        /// At most ten.
        source_queue_arns: Vec<String>,
    },
}

impl RedrivePolicy {
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let refuse = |reason: &str| Refusal::value(text, "RedrivePolicy", reason);
        let Ok(Value::Object(policy)) = serde_json::from_str(text) else {
            return Err(refuse("Redrive policy is not a valid JSON map."));
        };
        let missing = |name: &str| {
            refuse(&format!(
                "Redrive policy does not contain mandatory attribute: {name}."
            ))
        };
        let target = policy
            .get("deadLetterTargetArn")
            .and_then(Value::as_str)
            .ok_or_else(|| missing("deadLetterTargetArn"))?;
        let count = policy
            .get("maxReceiveCount")
            .ok_or_else(|| missing("maxReceiveCount"))?;
        // The service takes a number and its decimal text alike.
        let count = count
            .as_i64()
            .or_else(|| count.as_str().and_then(|text| text.parse().ok()))
            .filter(|count| (1..=limits::MAX_RECEIVE_COUNT).contains(count))
            .and_then(|count| u32::try_from(count).ok())
            .ok_or_else(|| {
                refuse("Invalid value for maxReceiveCount: it must be an integer from 1 to 1000.")
            })?;
        Ok(Self {
            dead_letter_target_arn: target.to_owned(),
            max_receive_count: count,
        })
    }
}

impl RedriveAllowPolicy {
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let refuse = |reason: &str| Refusal::value(text, "RedriveAllowPolicy", reason);
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return Err(refuse(
                "Amazon SQS can't create the redrive allow policy, as it's in an unsupported format.",
            ));
        };
        let has_sources = value.get("sourceQueueArns").is_some();
        let policy: Self = serde_json::from_value(value)
            .map_err(|_| refuse("Amazon SQS can't create the redrive allow policy, as it's in an unsupported format."))?;
        match &policy {
            Self::ByQueue { source_queue_arns }
                if source_queue_arns.is_empty() || source_queue_arns.len() > 10 =>
            {
                Err(refuse("1 to 10 source queues must be named."))
            }
            Self::AllowAll | Self::DenyAll if has_sources => Err(refuse(
                "Source queues can be named with the permission byQueue only.",
            )),
            Self::AllowAll | Self::DenyAll | Self::ByQueue { .. } => Ok(policy),
        }
    }

    pub(crate) fn allows(&self, source_arn: &str) -> bool {
        match self {
            Self::AllowAll => true,
            Self::DenyAll => false,
            Self::ByQueue { source_queue_arns } => {
                source_queue_arns.iter().any(|arn| arn == source_arn)
            }
        }
    }
}
