//! `GetQueueAttributes` and `SetQueueAttributes`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Action, Done};
use crate::account::Account;
use crate::refusal::{Code, Refusal};
use crate::settings::Settings;

/// Asks for a queue's attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GetQueueAttributes {
    /// Which queue.
    pub queue_url: String,
    /// Which attributes; `All` for all, none for none.
    pub attribute_names: Vec<String>,
}

/// A queue's attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueueAttributes {
    /// By AWS's names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// Changes a queue's attributes, at once (AWS takes up to a minute).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SetQueueAttributes {
    /// Which queue.
    pub queue_url: String,
    /// By AWS's names; the others stay.
    pub attributes: BTreeMap<String, String>,
}

/// Those that a queue may or may not have.
const OPTIONAL: [&str; 5] = [
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "Policy",
    "RedriveAllowPolicy",
    "RedrivePolicy",
];

impl Action for GetQueueAttributes {
    const NAME: &'static str = "GetQueueAttributes";
    type Answer = QueueAttributes;

    fn perform(self, account: &mut Account) -> Result<QueueAttributes, Refusal> {
        let queue = account.queue(&self.queue_url)?;
        let counts = queue.shelf.counts();
        let mut all = queue.settings.attributes();
        all.extend([
            ("ApproximateNumberOfMessages", counts.visible.to_string()),
            (
                "ApproximateNumberOfMessagesNotVisible",
                counts.in_flight.to_string(),
            ),
            (
                "ApproximateNumberOfMessagesDelayed",
                counts.delayed.to_string(),
            ),
            ("CreatedTimestamp", queue.created_at.timestamp().to_string()),
            (
                "LastModifiedTimestamp",
                queue.modified_at.timestamp().to_string(),
            ),
        ]);
        let name = queue.name.clone();
        all.insert("QueueArn", account.arn(&name));
        let is_all = self.attribute_names.iter().any(|name| name == "All");
        for name in self.attribute_names.iter().map(String::as_str) {
            if name != "All" && !all.contains_key(name) && !OPTIONAL.contains(&name) {
                return Err(
                    Code::InvalidAttributeName.because(format!("Unknown Attribute {name}."))
                );
            }
        }
        let attributes = all
            .into_iter()
            .filter(|(name, _)| is_all || self.attribute_names.iter().any(|asked| asked == name))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Ok(QueueAttributes { attributes })
    }
}

impl Action for SetQueueAttributes {
    const NAME: &'static str = "SetQueueAttributes";
    type Answer = Done;

    fn perform(self, account: &mut Account) -> Result<Done, Refusal> {
        let now = account.now();
        if self.attributes.is_empty() {
            return Err(Refusal::missing("Attribute.Name"));
        }
        let queue = account.queue(&self.queue_url)?;
        let mut settings = queue.settings.clone();
        settings.apply(&self.attributes)?;
        let name = queue.name.clone();
        if self.attributes.contains_key("RedrivePolicy") {
            check_redrive(account, &name, &settings)?;
        }
        let queue = account.queue_to_change(&self.queue_url)?;
        queue.settings = settings;
        queue.modified_at = now;
        if queue.is_fifo() && self.attributes.contains_key("DelaySeconds") {
            queue.delay_again(now);
        }
        queue.settle(now);
        Ok(Done {})
    }
}

/// A dead-letter queue must exist, be of the same type, and let this queue use it.
pub(super) fn check_redrive(
    account: &Account,
    name: &str,
    settings: &Settings,
) -> Result<(), Refusal> {
    let Some(policy) = &settings.redrive else {
        return Ok(());
    };
    let text = serde_json::to_string(policy).unwrap_or_default();
    let refuse = |reason: &str| Err(Refusal::value(&text, "RedrivePolicy", reason));
    let target = account
        .name_of_arn(&policy.dead_letter_target_arn)
        .and_then(|target| account.queues.get(target));
    let Some(target) = target else {
        return refuse("Dead letter target does not exist.");
    };
    if target.is_fifo() != settings.fifo.is_some() {
        return refuse("Dead-letter queue must be same type of queue as the source.");
    }
    match &target.settings.redrive_allow {
        Some(allow) if !allow.allows(&account.arn(name)) => {
            refuse("The dead-letter queue does not allow this queue to use it.")
        }
        Some(_) | None => Ok(()),
    }
}
