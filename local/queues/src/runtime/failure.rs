//! How an invocation ends when it does not end well, in Lambda's words.

use std::{process::ExitStatus, time::Duration};

use serde_json::{Value, json};

/// No answer of the function.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvokeError {
    /// Nobody deployed it.
    #[error("function not found: {0}")]
    NotFound(String),
    /// As many instances as it may have are busy. The invocation was not begun; try later.
    #[error("rate exceeded: {0} is at its reserved concurrency")]
    Throttled(String),
    /// The event is larger than Lambda takes.
    #[error("the event has {size} bytes; {most} are taken")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The most that are taken.
        most: usize,
    },
    /// The host is being ended and begins nothing.
    #[error("the host of the functions is ending")]
    Ending,
    /// It was begun and failed. What it did before that stays done.
    #[error(transparent)]
    Failed(#[from] FunctionError),
}

/// The function failed, ended or took too long.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{function} failed: {kind}: {message}{}", shown(tail))]
pub struct FunctionError {
    /// Which function.
    pub function: String,
    /// Lambda's or the function's own name for it, such as `Sandbox.Timedout`.
    pub kind: String,
    /// What it says.
    pub message: String,
    /// The last lines of the instance's log.
    pub tail: String,
}

impl FunctionError {
    /// What a caller of `Invoke` gets as the payload.
    #[must_use]
    pub fn payload(&self) -> Value {
        json!({"errorType": self.kind, "errorMessage": self.message})
    }
}

/// Why an instance is of no more use, or what its function reported.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ailment {
    /// Nothing came in time.
    TimedOut(Duration),
    /// The process ended.
    Exited(Option<ExitStatus>),
    /// It could not be started at all.
    NotStarted(String),
    /// It answered with more than Lambda passes on.
    AnswerTooLarge,
    /// The function reported an error, in an invocation or while it got ready.
    Reported { kind: String, message: String },
}

impl Ailment {
    /// In Lambda's words.
    pub(super) fn told(self, function: &str, request: &str, tail: String) -> FunctionError {
        let (kind, message) = match self {
            Self::TimedOut(after) => (
                "Sandbox.Timedout".to_owned(),
                format!(
                    "RequestId: {request} Error: Task timed out after {:.2} seconds",
                    after.as_secs_f64()
                ),
            ),
            Self::Exited(status) => (
                "Runtime.ExitError".to_owned(),
                format!("RequestId: {request} Error: Runtime exited{}", how(status)),
            ),
            Self::NotStarted(why) => (
                "Runtime.InvalidEntrypoint".to_owned(),
                format!("RequestId: {request} Error: {why}"),
            ),
            Self::AnswerTooLarge => (
                "Function.ResponseSizeTooLarge".to_owned(),
                "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
                    .to_owned(),
            ),
            Self::Reported { kind, message } => (kind, message),
        };
        FunctionError {
            function: function.to_owned(),
            kind,
            message,
            tail,
        }
    }

    /// Whether another invocation may go to the same instance.
    pub(super) const fn spares_the_instance(&self) -> bool {
        matches!(self, Self::Reported { .. } | Self::AnswerTooLarge)
    }
}

fn how(status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;

    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(0), _)) => " without providing a reason".to_owned(),
        Some((Some(code), _)) => format!(" with error: exit status {code}"),
        Some((None, Some(signal))) => format!(" with error: signal: {signal}"),
        Some((None, None)) | None => " with error".to_owned(),
    }
}

fn shown(tail: &str) -> String {
    if tail.is_empty() {
        String::new()
    } else {
        format!("; its log ends with:\n{tail}")
    }
}
