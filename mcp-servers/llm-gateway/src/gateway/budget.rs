//! What one run may use: tokens in all, and requests at once.
//!
//! Counted in this process: with several replicas of the gateway each counts for itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use nightshift_domain::InvestigationId;

/// What one run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Tokens in all, read and written.
    pub tokens: u64,
    /// Requests at once.
    pub at_once: u32,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            tokens: 6_000_000,
            at_once: 4,
        }
    }
}

/// The run has used what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// Tokens are used up.
    #[error("this run may use {limit} tokens, and this request could exceed that")]
    Tokens {
        /// How many it may use.
        limit: u64,
    },
    /// Too many requests at once.
    #[error("this run may have {limit} requests at once")]
    Busy {
        /// How many it may have.
        limit: u32,
    },
}

#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    used: u64,
    reserved: u64,
    open: u32,
    requests: u64,
}

/// Runs that are remembered before those without open requests are forgotten, least used first.
const RUNS: usize = 10_000;

/// Counts what each run uses.
#[derive(Debug, Clone)]
pub struct Budget {
    limits: RunLimits,
    spent: Arc<Mutex<HashMap<InvestigationId, Spent>>>,
}

impl Budget {
    /// A budget with these limits for each run.
    #[must_use]
    pub fn new(limits: RunLimits) -> Self {
        Self {
            limits,
            spent: Arc::default(),
        }
    }

    /// Sets the worst case of one request aside until it is settled.
    pub fn reserve(&self, run: InvestigationId, worst: u64) -> Result<Reservation, OverBudget> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= RUNS {
            spent.retain(|_, spent| spent.open > 0 || spent.used > self.limits.tokens / 10);
        }
        let mine = spent.entry(run).or_default();
        if mine.open >= self.limits.at_once {
            return Err(OverBudget::Busy {
                limit: self.limits.at_once,
            });
        }
        let wanted = mine
            .used
            .saturating_add(mine.reserved)
            .saturating_add(worst);
        if wanted > self.limits.tokens {
            return Err(OverBudget::Tokens {
                limit: self.limits.tokens,
            });
        }
        mine.reserved += worst;
        mine.open += 1;
        mine.requests += 1;
        let first = mine.requests == 1;
        drop(spent);
        Ok(Reservation {
            budget: self.clone(),
            run,
            worst,
            used: None,
            first,
        })
    }

    /// Tokens that a run has used.
    #[must_use]
    pub fn used(&self, run: InvestigationId) -> u64 {
        let spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.get(&run).map_or(0, |spent| spent.used)
    }
}

/// Tokens set aside for one open request. Dropped unsettled, it gives everything back.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    run: InvestigationId,
    worst: u64,
    used: Option<u64>,
    first: bool,
}

impl Reservation {
    /// Whether it is the first request of its run that this process sees.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.first
    }

    /// The request used this much.
    pub fn settle(mut self, used: u64) {
        self.used = Some(used);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut spent = self
            .budget
            .spent
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = spent.get_mut(&self.run) {
            mine.reserved = mine.reserved.saturating_sub(self.worst);
            mine.open = mine.open.saturating_sub(1);
            mine.used = mine.used.saturating_add(self.used.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_stops_at_its_tokens_and_no_other_run_with_it() {
        let budget = Budget::new(RunLimits {
            tokens: 100,
            at_once: 9,
        });
        let (one, other) = (InvestigationId::generate(), InvestigationId::generate());
        budget.reserve(one, 60).unwrap().settle(50);
        assert_eq!(budget.used(one), 50);
        assert_eq!(
            budget.reserve(one, 51).unwrap_err(),
            OverBudget::Tokens { limit: 100 }
        );
        let held = budget.reserve(one, 50).unwrap();
        assert!(budget.reserve(one, 1).is_err(), "what is set aside counts");
        assert!(budget.reserve(other, 100).is_ok());
        drop(held);
        assert!(
            budget.reserve(one, 50).is_ok(),
            "what was not used comes back"
        );
    }

    #[test]
    fn a_run_has_only_so_many_requests_at_once() {
        let budget = Budget::new(RunLimits {
            tokens: 1_000,
            at_once: 2,
        });
        let run = InvestigationId::generate();
        let first = budget.reserve(run, 1).unwrap();
        let _second = budget.reserve(run, 1).unwrap();
        assert_eq!(
            budget.reserve(run, 1).unwrap_err(),
            OverBudget::Busy { limit: 2 }
        );
        first.settle(1);
        assert!(budget.reserve(run, 1).is_ok());
    }
}
