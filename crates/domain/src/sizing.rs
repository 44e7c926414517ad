//! How many sandboxes a pool keeps ready.
//!
//! While one sandbox is made, `rate · provision time` others are claimed on average (Little's law); claims
//! come at random, so the number swings by its square root. The pool holds that much beyond its floor.

use chrono::TimeDelta;

/// The short window, which sees a storm begin.
pub const SHORT_WINDOW: TimeDelta = TimeDelta::minutes(1);
/// The long window, which does not forget a storm in its first quiet minute.
pub const LONG_WINDOW: TimeDelta = TimeDelta::minutes(15);
/// How long a surplus must last until sandboxes are given up for it.
pub const SURPLUS_PATIENCE: TimeDelta = TimeDelta::hours(1);
/// How long making a sandbox is taken to last before any was made.
pub const UNMEASURED_PROVISION: TimeDelta = TimeDelta::seconds(30);

/// Standard deviations of demand that are kept in stock: an empty pool about once in a hundred lead times.
const SAFETY: f64 = 2.33;

/// What a pool was asked for lately and how long it takes to make more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Claims in [`SHORT_WINDOW`].
    pub claims_short: i64,
    /// Claims in [`LONG_WINDOW`].
    pub claims_long: i64,
    /// The 95th percentile of the time from beginning to make a sandbox until it was ready; `None` before
    /// any was.
    pub provision_p95: Option<TimeDelta>,
}

/// How many sandboxes should be ready, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizing {
    /// What the operator wants ready even when nothing happens.
    pub floor: i64,
    /// Claims a second: the higher of both windows' averages.
    pub claims_per_s: f64,
    /// How long making one takes, in seconds.
    pub provision_s: f64,
    /// How many should be ready.
    pub target: i64,
}

impl Sizing {
    /// The size that `demand` asks for, never below `floor`. The caller holds it under the pool's ceiling.
    #[must_use]
    pub fn of(floor: i64, demand: Demand) -> Self {
        let short = per_second(demand.claims_short, SHORT_WINDOW);
        let long = per_second(demand.claims_long, LONG_WINDOW);
        let claims_per_s = short.max(long);
        let provision = demand.provision_p95.unwrap_or(UNMEASURED_PROVISION);
        let provision_s = provision.as_seconds_f64().max(0.0);
        let meanwhile = claims_per_s * provision_s;
        let stock = (meanwhile + SAFETY * meanwhile.sqrt()).ceil();
        Self {
            floor,
            claims_per_s,
            provision_s,
            target: floor.saturating_add(whole(stock)),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no pool is claimed from 2^52 times"
)]
fn per_second(claims: i64, window: TimeDelta) -> f64 {
    claims.max(0) as f64 / window.as_seconds_f64()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float beyond the range becomes its end"
)]
const fn whole(stock: f64) -> i64 {
    stock as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(claims_short: i64, claims_long: i64, provision_s: i64) -> i64 {
        let demand = Demand {
            claims_short,
            claims_long,
            provision_p95: Some(TimeDelta::seconds(provision_s)),
        };
        Sizing::of(3, demand).target
    }

    #[test]
    fn a_quiet_pool_holds_its_floor_and_no_more() {
        assert_eq!(target(0, 0, 60), 3);
    }

    #[test]
    fn stock_covers_the_lead_time_and_its_swings() {
        // Two a second for 20 s are 40; 2.33 times the root of 40 is 14.7.
        assert_eq!(target(120, 120, 20), 3 + 40 + 15);
        // Half an hour of quiet after it leaves nothing of either.
        assert_eq!(target(0, 0, 20), 3);
    }

    #[test]
    fn the_higher_of_both_windows_counts() {
        assert_eq!(target(60, 60, 10), target(60, 0, 10), "a storm begins");
        assert_eq!(
            target(0, 900, 10),
            target(60, 0, 10),
            "a storm has just ended"
        );
        assert!(target(60, 0, 10) > target(0, 60, 10));
    }

    #[test]
    fn slower_provisioning_and_more_claims_never_shrink_a_pool() {
        let mut last = 0;
        for step in 0..200 {
            let grown = target(step, 0, 30).max(target(60, 0, step));
            assert!(grown >= last.min(target(60, 0, step)));
            assert!(target(step + 1, 0, 30) >= target(step, 0, 30));
            assert!(target(60, 0, step + 1) >= target(60, 0, step));
            last = grown;
        }
    }

    #[test]
    fn a_pool_that_never_made_one_expects_it_to_take_a_while() {
        let unmeasured = Demand {
            claims_short: 60,
            claims_long: 60,
            provision_p95: None,
        };
        assert_eq!(Sizing::of(3, unmeasured).target, target(60, 60, 30));
    }
}
