//! `TagQueue`, `UntagQueue` and `ListQueueTags`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Action, Done};
use crate::account::Account;
use crate::limits;
use crate::refusal::{Code, Refusal};

/// Adds tags to a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TagQueue {
    /// Which queue.
    pub queue_url: String,
    /// A known key gets the new value.
    pub tags: BTreeMap<String, String>,
}

/// Removes tags from a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UntagQueue {
    /// Which queue.
    pub queue_url: String,
    /// Unknown ones are no error.
    pub tag_keys: Vec<String>,
}

/// Asks for a queue's tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListQueueTags {
    /// Which queue.
    pub queue_url: String,
}

/// A queue's tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueueTags {
    /// By key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Action for TagQueue {
    const NAME: &'static str = "TagQueue";
    type Answer = Done;

    fn perform(self, account: &mut Account) -> Result<Done, Refusal> {
        let queue = account.queue_to_change(&self.queue_url)?;
        let mut tags = queue.tags.clone();
        tags.extend(self.tags);
        check_tags(&tags)?;
        queue.tags = tags;
        Ok(Done {})
    }
}

impl Action for UntagQueue {
    const NAME: &'static str = "UntagQueue";
    type Answer = Done;

    fn perform(self, account: &mut Account) -> Result<Done, Refusal> {
        let queue = account.queue_to_change(&self.queue_url)?;
        queue.tags.retain(|key, _| !self.tag_keys.contains(key));
        Ok(Done {})
    }
}

impl Action for ListQueueTags {
    const NAME: &'static str = "ListQueueTags";
    type Answer = QueueTags;

    fn perform(self, account: &mut Account) -> Result<QueueTags, Refusal> {
        let tags = account.queue(&self.queue_url)?.tags.clone();
        Ok(QueueTags { tags })
    }
}

/// At most 50, keys of 1 to 128 characters that are not AWS's own, values of at most 256.
pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let fits = |key: &str, value: &str| {
        (1..=128).contains(&key.chars().count())
            && value.chars().count() <= 256
            && !key.to_ascii_lowercase().starts_with("aws:")
    };
    if tags.len() <= limits::TAGS && tags.iter().all(|(key, value)| fits(key, value)) {
        return Ok(());
    }
    Err(Code::InvalidParameterValue.because(
        "A queue has at most 50 tags, with keys of 1 to 128 characters and values of at most 256.",
    ))
}
