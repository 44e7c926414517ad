//! How long to wait before trying again.

use std::time::Duration;

use p256::elliptic_curve::rand_core::{OsRng, RngCore};

/// Delays that double up to a limit, each drawn between nothing and its full length so that many
/// sandboxes that lost the same server do not come back at the same instant.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    limit: Duration,
}

impl Backoff {
    /// Delays from `first` up to `limit`.
    #[must_use]
    pub const fn new(first: Duration, limit: Duration) -> Self {
        Self { next: first, limit }
    }

    /// The next delay.
    pub fn delay(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.limit);
        whole.mul_f64(f64::from(OsRng.next_u32()) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_never_exceed_the_limit() {
        let limit = Duration::from_millis(40);
        let mut backoff = Backoff::new(Duration::from_millis(10), limit);
        assert!(backoff.delay() <= Duration::from_millis(10));
        assert!((0..50).all(|_| backoff.delay() <= limit));
    }
}
