//! What a mapping needs of a queue.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;

use super::Received;

/// A queue as a mapping uses it.
pub trait Source: fmt::Debug + Send + Sync {
    /// Up to `most` messages; where there are none, the first that come within `wait`.
    fn receive(&self, most: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Received>, String>>;

    /// Deletes messages by the handles they were received with.
    fn delete<'a>(&'a self, handles: &'a [String]) -> BoxFuture<'a, Result<(), String>>;
}
