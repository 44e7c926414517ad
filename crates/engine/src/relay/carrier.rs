//! What carries a step from the outbox to its handler.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{FutureExt, future::BoxFuture};
use nightshift_store::{LeasedStep, Settlement};

use crate::{Classify, Disposition, Platform, causes, steps};

/// Attempts until a step is parked for a person.
const MAX_ATTEMPTS: i32 = 12;
/// The first pause after a failure; it doubles with each further one.
const FIRST_PAUSE_MS: i64 = 200;
/// The longest pause.
const LONGEST_PAUSE_MS: i64 = 60_000;

/// Carries steps. A queue takes responsibility for a step; the in-process one carries it out at once.
/// Same outbox, same handlers; only the carrier differs.
pub trait Carrier: Send + Sync {
    /// Hands a step over. `Done` means that whoever carries it has taken responsibility.
    fn carry<'a>(&'a self, step: &'a LeasedStep) -> BoxFuture<'a, Settlement>;
}

/// Carries a step out in this process.
#[derive(Debug, Clone)]
pub struct InProcess {
    platform: Platform,
}

impl InProcess {
    /// Carries steps out on `platform`.
    #[must_use]
    pub const fn new(platform: Platform) -> Self {
        Self { platform }
    }

    async fn attempt(&self, leased: &LeasedStep) -> Settlement {
        let result = match steps::read(&leased.payload) {
            Ok(step) => steps::carry_out(&self.platform, step).await,
            Err(unreadable) => Err(unreadable),
        };
        match result {
            Ok(()) => Settlement::Done,
            Err(error) => self.settle(leased, &error),
        }
    }

    fn settle<E: Classify>(&self, leased: &LeasedStep, error: &E) -> Settlement {
        let text = causes(error);
        let (id, attempt) = (leased.id, leased.attempt);
        match error.disposition() {
            Disposition::Discard => {
                tracing::warn!(outbox.id = id, error = text, "Discarded a step");
                Settlement::Done
            }
            Disposition::Retry if attempt < MAX_ATTEMPTS => {
                tracing::warn!(
                    outbox.id = id,
                    attempt,
                    error = text,
                    "A step failed; trying again"
                );
                let due_at = again_at(attempt, self.platform.clock.now());
                Settlement::Again {
                    due_at,
                    error: text,
                }
            }
            Disposition::Retry => {
                tracing::error!(
                    outbox.id = id,
                    attempt,
                    error = text,
                    "Parked a step that keeps failing"
                );
                Settlement::Dead { error: text }
            }
        }
    }
}

impl Carrier for InProcess {
    fn carry<'a>(&'a self, step: &'a LeasedStep) -> BoxFuture<'a, Settlement> {
        self.attempt(step).boxed()
    }
}

/// Exponential backoff with full jitter.
fn again_at(attempt: i32, now: DateTime<Utc>) -> DateTime<Utc> {
    let doublings = attempt.clamp(1, 16).unsigned_abs() - 1;
    let ceiling = (FIRST_PAUSE_MS << doublings).min(LONGEST_PAUSE_MS);
    now + TimeDelta::milliseconds(rand::random_range(20..=ceiling))
}
