//! `StartMessageMoveTask`, `ListMessageMoveTasks` and `CancelMessageMoveTask`.

use serde::{Deserialize, Serialize};

use super::Action;
use crate::account::Account;
use crate::limits;
use crate::moves::{Move, Status};
use crate::refusal::{Code, Refusal};

/// Starts to bring the messages of a dead-letter queue back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StartMessageMoveTask {
    /// The dead-letter queue.
    pub source_arn: String,
    /// Where to; to where each message came from if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_arn: Option<String>,
    /// 1 to 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_number_of_messages_per_second: Option<i64>,
}

/// A task that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartedMove {
    /// Names the task.
    pub task_handle: String,
}

/// Lists the latest tasks of a dead-letter queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListMessageMoveTasks {
    /// The dead-letter queue.
    pub source_arn: String,
    /// 1 to 10; 1 if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_results: Option<i64>,
}

/// Tasks, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MoveTasks {
    /// At most ten.
    pub results: Vec<MoveTask>,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MoveTask {
    /// Only while it runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub task_handle: Option<String>,
    /// `RUNNING`, `COMPLETED`, `CANCELLED` or `FAILED`.
    pub status: String,
    /// The dead-letter queue.
    pub source_arn: String,
    /// Where to, if that was said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub destination_arn: Option<String>,
    /// How fast, if that was said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_number_of_messages_per_second: Option<i64>,
    /// So far.
    pub approximate_number_of_messages_moved: i64,
    /// When it started.
    pub approximate_number_of_messages_to_move: i64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failure_reason: Option<String>,
    /// Milliseconds since 1970.
    pub started_timestamp: i64,
}

/// Stops a running task; what it moved stays moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CancelMessageMoveTask {
    /// From the start.
    pub task_handle: String,
}

/// How far a cancelled task came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Moved {
    /// Messages.
    pub approximate_number_of_messages_moved: i64,
}

impl Action for StartMessageMoveTask {
    const NAME: &'static str = "StartMessageMoveTask";
    type Answer = StartedMove;

    fn perform(self, account: &mut Account) -> Result<StartedMove, Refusal> {
        let source = source(account, &self.source_arn)?;
        let destination = self
            .destination_arn
            .as_deref()
            .map(|arn| source_name(account, arn))
            .transpose()?;
        if account.sources_of(&source).next().is_none() {
            return Err(Code::InvalidParameterValue
                .because("Source queue must be configured as a Dead Letter Queue."));
        }
        if let Some(rate) = self.max_number_of_messages_per_second
            && !(1..=limits::MOVED_PER_SECOND).contains(&rate)
        {
            let reason = "Value must be between 1 and 500.";
            return Err(Refusal::value(rate, "MaxNumberOfMessagesPerSecond", reason));
        }
        if account
            .moves
            .iter()
            .any(|task| task.source == source && task.status == Status::Running)
        {
            return Err(Code::UnsupportedOperation
                .because("There is already a task running. Only one active task is allowed for a source queue arn at a given time."));
        }
        let now = account.now();
        let total = account
            .counts(&source, now)
            .map_or(0, |counts| counts.visible);
        let handle = account.luck.uuid();
        account.moves.push(Move {
            handle: handle.clone(),
            source,
            destination,
            per_second: self.max_number_of_messages_per_second,
            started_at: now,
            total: i64::try_from(total).unwrap_or(i64::MAX),
            moved: 0,
            status: Status::Running,
            failure: None,
        });
        account.run_moves();
        Ok(StartedMove {
            task_handle: handle,
        })
    }
}

impl Action for ListMessageMoveTasks {
    const NAME: &'static str = "ListMessageMoveTasks";
    type Answer = MoveTasks;

    fn perform(self, account: &mut Account) -> Result<MoveTasks, Refusal> {
        let source = source(account, &self.source_arn)?;
        let most = self.max_results.unwrap_or(1);
        let Some(most) = usize::try_from(most)
            .ok()
            .filter(|most| (1..=10).contains(most))
        else {
            return Err(Refusal::value(
                most,
                "MaxResults",
                "Value must be between 1 and 10.",
            ));
        };
        let tasks = account
            .moves
            .iter()
            .rev()
            .filter(|task| task.source == source)
            .take(most);
        let results = tasks.map(|task| describe(account, task)).collect();
        Ok(MoveTasks { results })
    }
}

impl Action for CancelMessageMoveTask {
    const NAME: &'static str = "CancelMessageMoveTask";
    type Answer = Moved;

    fn perform(self, account: &mut Account) -> Result<Moved, Refusal> {
        account.touch();
        let running = account
            .moves
            .iter_mut()
            .find(|task| task.handle == self.task_handle && task.status == Status::Running);
        let Some(task) = running else {
            return Err(Code::ResourceNotFound.because("Task does not exist, or does not run."));
        };
        task.status = Status::Cancelled;
        Ok(Moved {
            approximate_number_of_messages_moved: task.moved,
        })
    }
}

fn source(account: &Account, arn: &str) -> Result<String, Refusal> {
    if arn.is_empty() {
        return Err(Refusal::missing("SourceArn"));
    }
    source_name(account, arn)
}

fn source_name(account: &Account, arn: &str) -> Result<String, Refusal> {
    account.name_of_arn(arn).map(str::to_owned).ok_or_else(|| {
        Code::ResourceNotFound.because("The resource that you specified for the SourceArn or DestinationArn parameter doesn't exist.")
    })
}

fn describe(account: &Account, task: &Move) -> MoveTask {
    let status = match task.status {
        Status::Running => "RUNNING",
        Status::Completed => "COMPLETED",
        Status::Cancelled => "CANCELLED",
        Status::Failed => "FAILED",
    };
    MoveTask {
        task_handle: (task.status == Status::Running).then(|| task.handle.clone()),
        status: status.to_owned(),
        source_arn: account.arn(&task.source),
        destination_arn: task.destination.as_deref().map(|name| account.arn(name)),
        max_number_of_messages_per_second: task.per_second,
        approximate_number_of_messages_moved: task.moved,
        approximate_number_of_messages_to_move: task.total,
        failure_reason: task.failure.clone(),
        started_timestamp: task.started_at.timestamp_millis(),
    }
}
