//! The actions of SQS: one file each, with the request and the answer in the form of the JSON
//! protocol, which is also the form of the journal.

mod batch;
mod delete;
mod listing;
mod move_tasks;
mod queue_attributes;
mod queues;
mod receive;
mod send;
mod send_batch;
mod tags;
mod visibility;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use batch::{BatchAnswer, BatchFailure, Succeeded};
pub use delete::{DeleteEntry, DeleteMessage, DeleteMessageBatch};
pub use listing::{ListDeadLetterSourceQueues, ListQueues, QueueUrls, SourceQueueUrls};
pub use move_tasks::{
    CancelMessageMoveTask, ListMessageMoveTasks, MoveTask, MoveTasks, Moved, StartMessageMoveTask,
    StartedMove,
};
pub use queue_attributes::{GetQueueAttributes, QueueAttributes, SetQueueAttributes};
pub use queues::{CreateQueue, DeleteQueue, GetQueueUrl, PurgeQueue, QueueUrl};
pub use receive::{ReceiveMessage, ReceiveMessageAnswer, ReceivedMessage};
pub use send::{SendMessage, SendMessageAnswer};
pub use send_batch::{SendEntry, SendMessageBatch, SentEntry};
pub use tags::{ListQueueTags, QueueTags, TagQueue, UntagQueue};
pub use visibility::{ChangeMessageVisibility, ChangeMessageVisibilityBatch, VisibilityEntry};

use crate::account::Account;
use crate::refusal::{Code, Refusal};

/// One action: the request of an account.
pub trait Action: Serialize + DeserializeOwned {
    /// Its name in the protocol.
    const NAME: &'static str;
    /// What it answers.
    type Answer: Serialize;

    /// Performs it at the account's time. Callers use [`Account::perform`].
    fn perform(self, account: &mut Account) -> Result<Self::Answer, Refusal>;
}

/// The answer of actions that have nothing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// Performs the action of this name with its request in JSON.
pub fn perform_named(
    account: &mut Account,
    now: DateTime<Utc>,
    name: &str,
    request: &Value,
) -> Result<Value, Refusal> {
    let run = match name {
        CancelMessageMoveTask::NAME => run::<CancelMessageMoveTask>,
        ChangeMessageVisibility::NAME => run::<ChangeMessageVisibility>,
        ChangeMessageVisibilityBatch::NAME => run::<ChangeMessageVisibilityBatch>,
        CreateQueue::NAME => run::<CreateQueue>,
        DeleteMessage::NAME => run::<DeleteMessage>,
        DeleteMessageBatch::NAME => run::<DeleteMessageBatch>,
        DeleteQueue::NAME => run::<DeleteQueue>,
        GetQueueAttributes::NAME => run::<GetQueueAttributes>,
        GetQueueUrl::NAME => run::<GetQueueUrl>,
        ListDeadLetterSourceQueues::NAME => run::<ListDeadLetterSourceQueues>,
        ListMessageMoveTasks::NAME => run::<ListMessageMoveTasks>,
        ListQueueTags::NAME => run::<ListQueueTags>,
        ListQueues::NAME => run::<ListQueues>,
        PurgeQueue::NAME => run::<PurgeQueue>,
        ReceiveMessage::NAME => run::<ReceiveMessage>,
        SendMessage::NAME => run::<SendMessage>,
        SendMessageBatch::NAME => run::<SendMessageBatch>,
        SetQueueAttributes::NAME => run::<SetQueueAttributes>,
        StartMessageMoveTask::NAME => run::<StartMessageMoveTask>,
        TagQueue::NAME => run::<TagQueue>,
        UntagQueue::NAME => run::<UntagQueue>,
        "AddPermission" | "RemovePermission" => {
            return Err(Code::UnsupportedOperation.because("Queue policies are not modelled here."));
        }
        other => {
            return Err(Code::UnknownOperation.because(format!("The action {other} is not valid.")));
        }
    };
    run(account, now, request)
}

/// Reads a request in JSON.
pub fn parse<A: Action>(request: &Value) -> Result<A, Refusal> {
    // By reference: a request may carry a megabyte.
    A::deserialize(request).map_err(|error| Code::MalformedInput.because(error.to_string()))
}

fn run<A: Action>(
    account: &mut Account,
    now: DateTime<Utc>,
    request: &Value,
) -> Result<Value, Refusal> {
    let answer = account.perform(now, parse::<A>(request)?)?;
    serde_json::to_value(answer).map_err(|error| Code::MalformedInput.because(error.to_string()))
}
