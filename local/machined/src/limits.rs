//! The provider's rate limits: per action and app or machine, 1 per second with bursts of 3.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::api::Operation;

/// Buckets kept before the full ones are swept out.
const BUCKETS_MAX: usize = 20_000;

/// Who has called how often.
#[derive(Debug, Default)]
pub(crate) struct Limits(Mutex<HashMap<(Operation, String), Bucket>>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

/// How many at once, and how many a second.
const fn rate(operation: Operation) -> (f64, f64) {
    if matches!(operation, Operation::GetMachine) {
        (10.0, 5.0)
    } else if matches!(operation, Operation::DeleteApp) {
        (100.0, 100.0 / 60.0)
    } else {
        (3.0, 1.0)
    }
}

impl Limits {
    /// Whether one more call may pass.
    pub(crate) fn admit(&self, operation: Operation, subject: &str, now: Instant) -> bool {
        // App deletions are counted over all apps.
        let subject = if operation == Operation::DeleteApp {
            ""
        } else {
            subject
        };
        let (burst, per_second) = rate(operation);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > BUCKETS_MAX {
            let full_after = Duration::from_mins(1);
            buckets.retain(|_, bucket| now.duration_since(bucket.filled_at) < full_after);
        }
        let bucket = buckets
            .entry((operation, subject.to_owned()))
            .or_insert(Bucket {
                tokens: burst,
                filled_at: now,
            });
        let passed = now.duration_since(bucket.filled_at).as_secs_f64();
        bucket.tokens = passed.mul_add(per_second, bucket.tokens).min(burst);
        bucket.filled_at = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_three_passes_then_one_a_second_and_others_are_not_touched() {
        let (limits, start) = (Limits::default(), Instant::now());
        let at = |subject: &str, ms: u64| {
            limits.admit(Operation::Start, subject, start + Duration::from_millis(ms))
        };
        assert_eq!(
            [at("m", 0), at("m", 0), at("m", 0), at("m", 0)],
            [true, true, true, false]
        );
        assert!(at("n", 0), "another machine has its own");
        assert!(!at("m", 500));
        assert!(at("m", 1_600));
        assert!(!at("m", 1_700));
    }
}
