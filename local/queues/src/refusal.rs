//! What SQS answers when it refuses: a code that programs compare, and words for people.

use std::fmt;

/// A refused request. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The code that programs compare.
    pub code: Code,
    /// Words for people, close to the service's own.
    pub message: String,
}

/// The service's error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are AWS's names, documented by AWS")]
pub enum Code {
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    IncompleteSignature,
    InvalidAddress,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MalformedInput,
    MessageNotInflight,
    MissingAuthenticationToken,
    MissingParameter,
    OverLimit,
    PurgeQueueInProgress,
    QueueDeletedRecently,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    ResourceNotFound,
    SignatureDoesNotMatch,
    TooManyEntriesInBatchRequest,
    UnknownOperation,
    UnsupportedOperation,
}

impl Code {
    /// The code of the old query protocol, which SDKs read from the header `x-amzn-query-error`
    /// and show to programs.
    #[must_use]
    pub const fn query(self) -> &'static str {
        self.names().0
    }

    /// The shape of the JSON protocol, sent as `__type`.
    #[must_use]
    pub const fn shape(self) -> &'static str {
        self.names().1
    }

    /// The HTTP status, after the service's model. Its API reference says 400 for all of them, the
    /// service answers with these.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::ReceiptHandleIsInvalid | Self::ResourceNotFound => 404,
            Self::MissingAuthenticationToken
            | Self::OverLimit
            | Self::PurgeQueueInProgress
            | Self::SignatureDoesNotMatch => 403,
            Self::BatchEntryIdsNotDistinct
            | Self::BatchRequestTooLong
            | Self::EmptyBatchRequest
            | Self::IncompleteSignature
            | Self::InvalidAddress
            | Self::InvalidAttributeName
            | Self::InvalidAttributeValue
            | Self::InvalidBatchEntryId
            | Self::InvalidMessageContents
            | Self::InvalidParameterValue
            | Self::MalformedInput
            | Self::MessageNotInflight
            | Self::MissingParameter
            | Self::QueueDeletedRecently
            | Self::QueueDoesNotExist
            | Self::QueueNameExists
            | Self::TooManyEntriesInBatchRequest
            | Self::UnknownOperation
            | Self::UnsupportedOperation => 400,
        }
    }

    /// This refusal with these words.
    pub fn because(self, message: impl Into<String>) -> Refusal {
        Refusal {
            code: self,
            message: message.into(),
        }
    }

    #[rustfmt::skip]
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::BatchEntryIdsNotDistinct => ("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "com.amazonaws.sqs#BatchEntryIdsNotDistinct"),
            Self::BatchRequestTooLong => ("AWS.SimpleQueueService.BatchRequestTooLong", "com.amazonaws.sqs#BatchRequestTooLong"),
            Self::EmptyBatchRequest => ("AWS.SimpleQueueService.EmptyBatchRequest", "com.amazonaws.sqs#EmptyBatchRequest"),
            Self::IncompleteSignature => ("IncompleteSignature", "com.amazon.coral.service#IncompleteSignatureException"),
            Self::InvalidAddress => ("InvalidAddress", "com.amazonaws.sqs#InvalidAddress"),
            Self::InvalidAttributeName => ("InvalidAttributeName", "com.amazonaws.sqs#InvalidAttributeName"),
            Self::InvalidAttributeValue => ("InvalidAttributeValue", "com.amazonaws.sqs#InvalidAttributeValue"),
            Self::InvalidBatchEntryId => ("AWS.SimpleQueueService.InvalidBatchEntryId", "com.amazonaws.sqs#InvalidBatchEntryId"),
            Self::InvalidMessageContents => ("InvalidMessageContents", "com.amazonaws.sqs#InvalidMessageContents"),
            Self::InvalidParameterValue => ("InvalidParameterValue", "com.amazon.coral.service#InvalidParameterValueException"),
            Self::MalformedInput => ("MalformedInput", "com.amazon.coral.service#SerializationException"),
            Self::MessageNotInflight => ("AWS.SimpleQueueService.MessageNotInflight", "com.amazonaws.sqs#MessageNotInflight"),
            Self::MissingAuthenticationToken => ("MissingAuthenticationToken", "com.amazon.coral.service#MissingAuthenticationTokenException"),
            Self::MissingParameter => ("MissingParameter", "com.amazon.coral.service#MissingRequiredParameterException"),
            Self::OverLimit => ("OverLimit", "com.amazonaws.sqs#OverLimit"),
            Self::PurgeQueueInProgress => ("AWS.SimpleQueueService.PurgeQueueInProgress", "com.amazonaws.sqs#PurgeQueueInProgress"),
            Self::QueueDeletedRecently => ("AWS.SimpleQueueService.QueueDeletedRecently", "com.amazonaws.sqs#QueueDeletedRecently"),
            Self::QueueDoesNotExist => ("AWS.SimpleQueueService.NonExistentQueue", "com.amazonaws.sqs#QueueDoesNotExist"),
            Self::QueueNameExists => ("QueueAlreadyExists", "com.amazonaws.sqs#QueueNameExists"),
            Self::ReceiptHandleIsInvalid => ("ReceiptHandleIsInvalid", "com.amazonaws.sqs#ReceiptHandleIsInvalid"),
            Self::ResourceNotFound => ("ResourceNotFoundException", "com.amazonaws.sqs#ResourceNotFoundException"),
            Self::SignatureDoesNotMatch => ("SignatureDoesNotMatch", "com.amazon.coral.service#SignatureDoesNotMatchException"),
            Self::TooManyEntriesInBatchRequest => ("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "com.amazonaws.sqs#TooManyEntriesInBatchRequest"),
            Self::UnknownOperation => ("InvalidAction", "com.amazon.coral.service#UnknownOperationException"),
            Self::UnsupportedOperation => ("AWS.SimpleQueueService.UnsupportedOperation", "com.amazonaws.sqs#UnsupportedOperation"),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.query())
    }
}

impl Refusal {
    /// "Value 901 for parameter X is invalid. Reason: …"
    #[must_use]
    pub fn value(value: impl fmt::Display, parameter: &str, reason: &str) -> Self {
        Code::InvalidParameterValue.because(format!(
            "Value {value} for parameter {parameter} is invalid. Reason: {reason}"
        ))
    }

    /// "The request must contain the parameter X."
    #[must_use]
    pub fn missing(parameter: &str) -> Self {
        Code::MissingParameter.because(format!(
            "The request must contain the parameter {parameter}."
        ))
    }

    /// The queue is not there.
    #[must_use]
    pub fn no_queue() -> Self {
        Code::QueueDoesNotExist.because("The specified queue does not exist.")
    }
}
