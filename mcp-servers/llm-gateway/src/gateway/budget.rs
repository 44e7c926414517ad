//! What one run may use: tokens in all, and requests at once. And what a tenant's runs may have at once.
//!
//! Counted in this process: with several replicas of the gateway each counts for itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use nightshift_controls::{Control, holds};
use nightshift_domain::{InvestigationId, TenantId};

/// What one run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Tokens in all, read and written.
    pub tokens: u64,
    /// Requests at once.
    pub at_once: u32,
    /// Requests at once of all runs of one tenant, so that none takes the gateway from the others.
    pub tenant_at_once: u32,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            tokens: 6_000_000,
            at_once: 4,
            tenant_at_once: 256,
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
    /// Too many requests at once of the tenant's runs together.
    #[error("the runs of one tenant may have {limit} requests at once")]
    TenantBusy {
        /// How many they may have.
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

#[derive(Debug, Default)]
struct Books {
    runs: HashMap<InvestigationId, Spent>,
    /// Open requests of each tenant that has some.
    tenants: HashMap<TenantId, u32>,
}

/// Counts what each run uses.
///
/// Controls: `model-budget` (tokens are set aside before and settled after), `model-run-concurrency`,
/// `model-tenant-concurrency`.
#[derive(Debug, Clone)]
pub struct Budget {
    limits: RunLimits,
    books: Arc<Mutex<Books>>,
}

impl Budget {
    /// A budget with these limits for each run.
    #[must_use]
    pub fn new(limits: RunLimits) -> Self {
        Self {
            limits,
            books: Arc::default(),
        }
    }

    /// Sets the worst case of one request aside until it is settled.
    pub fn reserve(
        &self,
        tenant: TenantId,
        run: InvestigationId,
        worst: u64,
    ) -> Result<Reservation, OverBudget> {
        let limits = self.limits;
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if books.runs.len() >= RUNS {
            books
                .runs
                .retain(|_, spent| spent.open > 0 || spent.used > limits.tokens / 10);
        }
        if books.tenants.get(&tenant).copied().unwrap_or(0) >= limits.tenant_at_once
            && holds(Control::ModelTenantConcurrency)
        {
            return Err(OverBudget::TenantBusy {
                limit: limits.tenant_at_once,
            });
        }
        let mine = books.runs.entry(run).or_default();
        if mine.open >= limits.at_once && holds(Control::ModelRunConcurrency) {
            return Err(OverBudget::Busy {
                limit: limits.at_once,
            });
        }
        let wanted = mine
            .used
            .saturating_add(mine.reserved)
            .saturating_add(worst);
        if wanted > limits.tokens && holds(Control::ModelBudget) {
            return Err(OverBudget::Tokens {
                limit: limits.tokens,
            });
        }
        mine.reserved += worst;
        mine.open += 1;
        mine.requests += 1;
        let first = mine.requests == 1;
        *books.tenants.entry(tenant).or_default() += 1;
        drop(books);
        Ok(Reservation {
            budget: self.clone(),
            tenant,
            run,
            worst,
            used: None,
            first,
        })
    }

    /// Tokens that a run has used.
    #[must_use]
    pub fn used(&self, run: InvestigationId) -> u64 {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.runs.get(&run).map_or(0, |spent| spent.used)
    }
}

/// Tokens set aside for one open request. Dropped unsettled, it gives everything back.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    tenant: TenantId,
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
        let mut books = self
            .budget
            .books
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = books.runs.get_mut(&self.run) {
            mine.reserved = mine.reserved.saturating_sub(self.worst);
            mine.open = mine.open.saturating_sub(1);
            mine.used = mine.used.saturating_add(self.used.unwrap_or(0));
        }
        if let Some(open) = books.tenants.get_mut(&self.tenant) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                books.tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(tokens: u64, at_once: u32, tenant_at_once: u32) -> RunLimits {
        RunLimits {
            tokens,
            at_once,
            tenant_at_once,
        }
    }

    /// `model-budget`.
    #[test]
    fn a_run_stops_at_its_tokens_and_no_other_run_with_it() {
        let budget = Budget::new(limits(100, 9, 9));
        let tenant = TenantId::generate();
        let (one, other) = (InvestigationId::generate(), InvestigationId::generate());
        budget.reserve(tenant, one, 60).unwrap().settle(50);
        assert_eq!(budget.used(one), 50);
        assert_eq!(
            budget.reserve(tenant, one, 51).unwrap_err(),
            OverBudget::Tokens { limit: 100 }
        );
        let held = budget.reserve(tenant, one, 50).unwrap();
        assert!(
            budget.reserve(tenant, one, 1).is_err(),
            "what is set aside counts"
        );
        assert!(budget.reserve(tenant, other, 100).is_ok());
        drop(held);
        assert!(
            budget.reserve(tenant, one, 50).is_ok(),
            "what was not used comes back"
        );
    }

    /// `model-run-concurrency`.
    #[test]
    fn a_run_has_only_so_many_requests_at_once() {
        let budget = Budget::new(limits(1_000, 2, 9));
        let (tenant, run) = (TenantId::generate(), InvestigationId::generate());
        let first = budget.reserve(tenant, run, 1).unwrap();
        let _second = budget.reserve(tenant, run, 1).unwrap();
        assert_eq!(
            budget.reserve(tenant, run, 1).unwrap_err(),
            OverBudget::Busy { limit: 2 }
        );
        first.settle(1);
        assert!(budget.reserve(tenant, run, 1).is_ok());
    }

    /// `model-tenant-concurrency`.
    #[test]
    fn a_tenants_runs_have_only_so_many_requests_at_once_and_others_have_theirs() {
        let budget = Budget::new(limits(1_000, 9, 2));
        let (tenant, other) = (TenantId::generate(), TenantId::generate());
        let ask = |tenant| budget.reserve(tenant, InvestigationId::generate(), 1);
        let first = ask(tenant).unwrap();
        let _second = ask(tenant).unwrap();
        assert_eq!(
            ask(tenant).unwrap_err(),
            OverBudget::TenantBusy { limit: 2 }
        );
        assert!(ask(other).is_ok());
        drop(first);
        assert!(ask(tenant).is_ok());
    }
}
