//! Knows when a provider is down: after several failures in a row it is left alone for a while.
//!
//! ```text
//! closed ──5 failures in a row──▶ open ──30 s──▶ one try ──works──▶ closed
//!                                   ▲──────────fails──────┘
//! ```

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Failures in a row that mean "down".
const FAILURES: u32 = 5;
/// How long a provider that is down is left alone.
const REST: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    failures: u32,
    open_since: Option<Instant>,
}

/// Counts failures in a row.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

impl Breaker {
    /// Whether the provider is to be left alone now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.open_since {
            Some(since) if since.elapsed() >= REST => {
                // This caller tries; others go on leaving the provider alone until it is known.
                state.open_since = Some(Instant::now());
                false
            }
            Some(_) => true,
            None => false,
        }
    }

    /// It answered.
    pub fn worked(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// It did not.
    pub fn failed(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures += 1;
        if state.failures >= FAILURES {
            if state.open_since.is_none() {
                tracing::error!(failures = state.failures, "The model's provider is down");
            }
            state.open_since = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn several_failures_open_it_and_one_try_after_a_rest_closes_it() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES {
            breaker.failed();
            assert!(!breaker.is_open());
        }
        breaker.failed();
        assert!(breaker.is_open());

        tokio::time::advance(REST).await;
        assert!(!breaker.is_open(), "one may try");
        assert!(breaker.is_open(), "others wait for what comes of it");
        breaker.failed();
        assert!(breaker.is_open());

        tokio::time::advance(REST).await;
        assert!(!breaker.is_open());
        breaker.worked();
        assert!(!breaker.is_open() && !breaker.is_open());
    }

    #[tokio::test]
    async fn failures_with_answers_between_them_do_not_open_it() {
        let breaker = Breaker::default();
        for _ in 0..3 * FAILURES {
            breaker.failed();
            breaker.worked();
        }
        assert!(!breaker.is_open());
    }
}
