//! What carries steps from the outbox to their handlers.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use nightshift_protocol::Step;
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
    /// How many steps usually share a batch, at most: so many are leased for each batch that there is room for.
    fn in_a_batch(&self) -> usize {
        1
    }

    /// Divides what was leased into batches, each of which is handed over and settled by itself.
    fn batches(&self, leased: Vec<LeasedStep>) -> Vec<Vec<LeasedStep>>;

    /// Hands a batch over and tells, in the batch's order, what became of each step. `Done` means that
    /// whoever carries it has taken responsibility. A step about which nothing is told stays leased and
    /// comes again.
    fn carry<'a>(&'a self, batch: &'a [LeasedStep]) -> BoxFuture<'a, Vec<Settlement>>;
}

/// Carries steps out in this process, those of one batch side by side.
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
            Ok(envelope) => steps::follow(&self.platform, envelope).await,
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
    /// Each different step is a batch with its copies, so that none waits for the settling of another.
    fn batches(&self, leased: Vec<LeasedStep>) -> Vec<Vec<LeasedStep>> {
        alike(leased)
    }

    /// Carries each different step out once, for all its copies: a wake written while this one is carried
    /// out is another row and is carried out again, so none is lost by folding.
    fn carry<'a>(&'a self, batch: &'a [LeasedStep]) -> BoxFuture<'a, Vec<Settlement>> {
        async move {
            let groups = alike(batch.iter().collect());
            let attempts = groups.iter().filter_map(|same| same.first());
            let settled = join_all(attempts.map(|first| self.attempt(first))).await;
            let told: HashMap<i64, &Settlement> = groups
                .iter()
                .zip(&settled)
                .flat_map(|(same, settlement)| same.iter().map(move |step| (step.id, settlement)))
                .collect();
            let of = |step: &LeasedStep| told.get(&step.id).copied().cloned();
            batch.iter().filter_map(of).collect()
        }
        .boxed()
    }
}

/// Groups copies of the same step, in the order of each one's first. Their traces do not count: whose
/// wake it was makes no difference to what has to be done.
#[must_use]
pub fn alike<T: AsRef<LeasedStep>>(leased: Vec<T>) -> Vec<Vec<T>> {
    #[derive(PartialEq, Eq, Hash)]
    enum Key {
        Step(Step),
        Unreadable(String),
    }
    let mut groups: Vec<Vec<T>> = Vec::new();
    let mut places: HashMap<Key, usize> = HashMap::new();
    for step in leased {
        let payload = &step.as_ref().payload;
        let key = steps::read(payload).map_or_else(
            |_| Key::Unreadable(payload.to_string()),
            |envelope| Key::Step(envelope.step),
        );
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(same) => same.push(step),
            None => groups.push(vec![step]),
        }
    }
    groups
}

/// When to try again after the failure of attempt `attempt`, counted from 1: exponential backoff with full
/// jitter, at most a minute.
#[must_use]
pub fn again_at(attempt: i32, now: DateTime<Utc>) -> DateTime<Utc> {
    let doublings = attempt.clamp(1, 16).unsigned_abs() - 1;
    let ceiling = (FIRST_PAUSE_MS << doublings).min(LONGEST_PAUSE_MS);
    now + TimeDelta::milliseconds(rand::random_range(20..=ceiling))
}
