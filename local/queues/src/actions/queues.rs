//! `CreateQueue`, `GetQueueUrl`, `DeleteQueue` and `PurgeQueue`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::queue_attributes::check_redrive;
use super::tags::check_tags;
use super::{Action, Done};
use crate::account::Account;
use crate::limits;
use crate::queue::Queue;
use crate::refusal::{Code, Refusal};
use crate::settings::Settings;
use crate::shelf::Shelf;

/// Creates a queue; the same queue again is no error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateQueue {
    /// Up to 80 letters, digits, hyphens and underscores; a FIFO queue's ends with `.fifo`.
    pub queue_name: String,
    /// By AWS's names.
    pub attributes: BTreeMap<String, String>,
    /// The protocol spells this one small.
    #[serde(rename = "tags")]
    pub tags: BTreeMap<String, String>,
}

/// Asks for a queue's URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GetQueueUrl {
    /// Its name.
    pub queue_name: String,
    /// Whose queue it is; this account's if none.
    #[serde(
        rename = "QueueOwnerAWSAccountId",
        skip_serializing_if = "Option::is_none"
    )]
    pub queue_owner_aws_account_id: Option<String>,
}

/// A queue's URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueUrl {
    /// Where it is.
    pub queue_url: String,
}

/// Deletes a queue with everything in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeleteQueue {
    /// Which queue.
    pub queue_url: String,
}

/// Deletes all messages of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PurgeQueue {
    /// Which queue.
    pub queue_url: String,
}

impl Action for CreateQueue {
    const NAME: &'static str = "CreateQueue";
    type Answer = QueueUrl;

    fn perform(self, account: &mut Account) -> Result<QueueUrl, Refusal> {
        let now = account.now();
        let name = self.queue_name;
        let is_fifo = self
            .attributes
            .get("FifoQueue")
            .is_some_and(|value| value == "true");
        check_name(&name, is_fifo)?;
        let mut settings = Settings::new(is_fifo);
        settings.apply(&self.attributes)?;
        check_tags(&self.tags)?;
        let url = QueueUrl {
            queue_url: account.url(&name),
        };
        if let Some(queue) = account.queues.get(&name) {
            refuse_other_values(&name, queue, &settings, &self.attributes)?;
            return Ok(url);
        }
        if account
            .deleted
            .get(&name)
            .is_some_and(|at| now - *at < limits::NAME_REST)
        {
            return Err(Code::QueueDeletedRecently
                .because("You must wait 60 seconds after deleting a queue before you can create another with the same name."));
        }
        check_redrive(account, &name, &settings)?;
        account.touch();
        account.deleted.remove(&name);
        let mut queue = Queue::new(name.clone(), settings, now);
        queue.tags = self.tags;
        account.queues.insert(name, queue);
        Ok(url)
    }
}

impl Action for GetQueueUrl {
    const NAME: &'static str = "GetQueueUrl";
    type Answer = QueueUrl;

    fn perform(self, account: &mut Account) -> Result<QueueUrl, Refusal> {
        let is_ours = self
            .queue_owner_aws_account_id
            .is_none_or(|owner| owner == account.identity.account);
        if !is_ours || !account.queues.contains_key(&self.queue_name) {
            return Err(Refusal::no_queue());
        }
        Ok(QueueUrl {
            queue_url: account.url(&self.queue_name),
        })
    }
}

impl Action for DeleteQueue {
    const NAME: &'static str = "DeleteQueue";
    type Answer = Done;

    fn perform(self, account: &mut Account) -> Result<Done, Refusal> {
        let name = account.queue_to_change(&self.queue_url)?.name.clone();
        account.queues.remove(&name);
        let now = account.now();
        account
            .deleted
            .retain(|_, at| now - *at < limits::NAME_REST);
        account.deleted.insert(name, now);
        Ok(Done {})
    }
}

impl Action for PurgeQueue {
    const NAME: &'static str = "PurgeQueue";
    type Answer = Done;

    fn perform(self, account: &mut Account) -> Result<Done, Refusal> {
        let now = account.now();
        let queue = account.queue_to_change(&self.queue_url)?;
        if queue
            .purged_at
            .is_some_and(|at| now - at < limits::PURGE_REST)
        {
            return Err(Code::PurgeQueueInProgress.because(format!(
                "Only one PurgeQueue operation on {} is allowed every 60 seconds.",
                queue.name
            )));
        }
        queue.purged_at = Some(now);
        // The places go on, so that an old receipt handle never fits a new message.
        queue.shelf = Shelf::starting_at(queue.shelf.end());
        Ok(Done {})
    }
}

fn check_name(name: &str, is_fifo: bool) -> Result<(), Refusal> {
    let stem = if is_fifo {
        name.strip_suffix(".fifo")
    } else {
        Some(name)
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let fits = stem.is_some_and(|stem| !stem.is_empty() && stem.bytes().all(is_allowed));
    if fits && name.len() <= limits::NAME_CHARACTERS {
        return Ok(());
    }
    Err(Code::InvalidParameterValue.because(if is_fifo {
        "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with \
         .fifo suffix and be 1 to 80 in length"
    } else {
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
    }))
}

/// Only what the request names is compared.
fn refuse_other_values(
    name: &str,
    queue: &Queue,
    wanted: &Settings,
    named: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let (wanted, existing) = (wanted.attributes(), queue.settings.attributes());
    for attribute in named.keys().map(String::as_str) {
        if wanted.get(attribute) != existing.get(attribute) {
            return Err(Code::QueueNameExists.because(format!(
                "A queue already exists with the same name and a different value for attribute {attribute}: {name}"
            )));
        }
    }
    Ok(())
}
