//! What a queue should do with a step that failed.

use std::{error::Error, iter};

use nightshift_store::StoreError;

/// What a queue should do with a step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Deliver it again; if the cause does not pass, park it for a person.
    Retry,
    /// Drop it: the world moved on and the step no longer matters.
    Discard,
}

/// An error that knows whether repeating helps.
pub trait Classify: Error + Send + Sync + 'static {
    /// What the queue should do.
    fn disposition(&self) -> Disposition;
}

impl Classify for StoreError {
    fn disposition(&self) -> Disposition {
        // A stale read is decided again on the next delivery.
        match self {
            Self::Stale(_) | Self::Database(_) | Self::Corrupt(_) => Disposition::Retry,
        }
    }
}

/// An error and everything that caused it, on one line.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    iter::successors(Some(error), |&error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
