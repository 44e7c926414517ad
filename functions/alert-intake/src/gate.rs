//! How many deliveries are taken in at once. Beyond that a sender is told at once to come again: it keeps its
//! alert, and those that are under way stay quick.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use nightshift_lambda::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Deliveries under way at once. Each waits a few milliseconds for the disk, most of them together; so many
/// keep a database busy and are answered well within any vendor's patience.
const AT_ONCE: usize = 128;
/// When a refused sender may come again, in seconds.
const COME_AGAIN: u32 = 1;

/// Lets a bounded number in.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self::of(AT_ONCE)
    }

    fn of(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// Enters, for as long as the permit is held, or says to come again.
    pub(crate) fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            Problem::try_again("too many at once; nothing was kept; send the same delivery again")
                .after_seconds(COME_AGAIN)
        })
    }

    /// The answer to whoever was not let in. There is no line in the log for each: when there are many of them
    /// the log would be the next thing to break.
    pub(crate) fn refuse(problem: Problem) -> Response {
        tracing::debug!("Told a sender to come again");
        problem.into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_too_many_is_told_when_to_come_again_and_is_let_in_then() {
        let gate = Gate::of(1);
        let first = gate.enter().unwrap();
        let refused = Gate::refuse(gate.enter().unwrap_err());
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        drop(first);
        assert!(gate.enter().is_ok());
    }
}
