//! How many calls a region's provider is asked for: a token bucket whose rate learns from refusals.
//!
//! Starts for waiting investigations are charged and never refused; making stock takes only what leaves a
//! reserve for them. A refusal (429) halves the rate and holds stock back for as long as the provider asked;
//! the rate grows back evenly.

use chrono::{DateTime, TimeDelta, Utc};

/// How long stock waits after a refusal that named no time.
const UNSTATED_PAUSE: TimeDelta = TimeDelta::seconds(1);
/// The longest a refusal is believed; a provider that asks for more is asked again.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(5);

/// What a bucket may do at most and at least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Tokens it holds when full.
    pub burst: f64,
    /// Tokens that stock leaves for starts.
    pub reserve: f64,
    /// Tokens a second while nobody refuses.
    pub fastest: f64,
    /// Tokens a second after any number of refusals.
    pub slowest: f64,
    /// Tokens a second that the rate regains each second.
    pub regain: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            burst: 200.0,
            reserve: 50.0,
            fastest: 100.0,
            slowest: 0.5,
            regain: 0.2,
        }
    }
}

/// One region's bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Tokens at `filled_at`; below zero when starts were charged more than there was.
    pub tokens: f64,
    /// When `tokens` was true.
    pub filled_at: DateTime<Utc>,
    /// Tokens a second right after the last refusal.
    pub slowed_to: f64,
    /// When the last refusal came.
    pub slowed_at: DateTime<Utc>,
    /// Until when the provider asked to be left alone.
    pub paused_until: Option<DateTime<Utc>>,
}

impl Bucket {
    /// A full bucket that was never refused.
    #[must_use]
    pub const fn full(limits: &Limits, now: DateTime<Utc>) -> Self {
        Self {
            tokens: limits.burst,
            filled_at: now,
            slowed_to: limits.fastest,
            slowed_at: now,
            paused_until: None,
        }
    }

    /// Tokens a second at `now`.
    #[must_use]
    pub fn rate(&self, limits: &Limits, now: DateTime<Utc>) -> f64 {
        let regained = limits.regain * seconds(self.slowed_at, now);
        (self.slowed_to + regained).clamp(limits.slowest, limits.fastest)
    }

    /// Takes one token for stock, or tells when to ask again.
    pub fn take(self, limits: &Limits, now: DateTime<Utc>) -> Result<Self, DateTime<Utc>> {
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return Err(until);
        }
        let filled = self.filled(limits, now);
        let lacking = limits.reserve + 1.0 - filled.tokens;
        if lacking <= 0.0 {
            return Ok(Self {
                tokens: filled.tokens - 1.0,
                ..filled
            });
        }
        let wait_ms = (lacking / filled.rate(limits, now) * 1_000.0).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the slowest rate bounds it"
        )]
        let wait = TimeDelta::milliseconds(wait_ms as i64);
        Err(now + wait.max(TimeDelta::milliseconds(1)))
    }

    /// Charges `starts` that are made whatever is left. The debt is bounded, so that stock is held back for a
    /// while and not for ever. The store says the same in SQL.
    #[must_use]
    pub fn charge(self, starts: f64, limits: &Limits, now: DateTime<Utc>) -> Self {
        let filled = self.filled(limits, now);
        Self {
            tokens: (filled.tokens - starts).max(-limits.burst),
            ..filled
        }
    }

    /// Notes a refusal: half the rate, and a pause for stock of `retry_after`.
    #[must_use]
    pub fn refused(
        self,
        retry_after: Option<TimeDelta>,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Self {
        let paused = self.paused_until.filter(|until| *until > now);
        let asked = retry_after.unwrap_or(UNSTATED_PAUSE);
        let until = now + asked.clamp(TimeDelta::zero(), LONGEST_PAUSE);
        // Calls that were under way together are refused together: that is one refusal.
        let slowed_to = if paused.is_some() {
            self.rate(limits, now)
        } else {
            (self.rate(limits, now) / 2.0).max(limits.slowest)
        };
        Self {
            slowed_to,
            slowed_at: now,
            paused_until: Some(paused.map_or(until, |paused| paused.max(until))),
            ..self.filled(limits, now)
        }
    }

    fn filled(self, limits: &Limits, now: DateTime<Utc>) -> Self {
        let gained = self.rate(limits, now) * seconds(self.filled_at, now);
        Self {
            tokens: (self.tokens + gained).min(limits.burst),
            filled_at: self.filled_at.max(now),
            ..self
        }
    }
}

/// Seconds from one time to another; none when a slow clock says it was the other way round.
fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).as_seconds_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        burst: 10.0,
        reserve: 4.0,
        fastest: 2.0,
        slowest: 0.1,
        regain: 0.01,
    };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// Takes until refused; tells how many it got.
    fn drain(bucket: &mut Bucket, now: DateTime<Utc>) -> usize {
        let mut taken = 0;
        while let Ok(less) = bucket.take(&LIMITS, now) {
            *bucket = less;
            taken += 1;
        }
        taken
    }

    #[test]
    fn stock_leaves_the_reserve_to_starts() {
        let mut bucket = Bucket::full(&LIMITS, at(0));
        assert_eq!(drain(&mut bucket, at(0)), 6);
        let started = bucket.charge(4.0, &LIMITS, at(0));
        assert!(started.tokens.abs() < 1e-9, "starts have what was left");
        assert!(started.take(&LIMITS, at(0)).is_err());
    }

    #[test]
    fn a_refused_take_says_when_one_will_be_there() {
        let mut bucket = Bucket::full(&LIMITS, at(0));
        drain(&mut bucket, at(0));
        let again = bucket.take(&LIMITS, at(0)).unwrap_err();
        assert_eq!(again, at(0) + TimeDelta::milliseconds(500));
        assert!(
            bucket
                .take(&LIMITS, again - TimeDelta::milliseconds(1))
                .is_err()
        );
        assert!(bucket.take(&LIMITS, again).is_ok());
    }

    #[test]
    fn over_any_time_no_more_is_taken_than_burst_and_rate_allow() {
        let mut bucket = Bucket::full(&LIMITS, at(0));
        let taken: usize = (0..=100).map(|second| drain(&mut bucket, at(second))).sum();
        assert!(
            (206 - 1..=206).contains(&taken),
            "{taken}: 6 at once, 2 a second for 100 s"
        );
    }

    #[test]
    fn a_debt_of_starts_is_bounded_and_holds_stock_back() {
        let bucket = Bucket::full(&LIMITS, at(0)).charge(1_000.0, &LIMITS, at(0));
        assert!(bucket.take(&LIMITS, at(7)).is_err());
        assert!(
            bucket.take(&LIMITS, at(8)).is_ok(),
            "15 tokens at 2 a second"
        );
    }

    #[test]
    fn the_time_the_provider_asked_for_is_kept_to() {
        let refused =
            Bucket::full(&LIMITS, at(0)).refused(Some(TimeDelta::seconds(30)), &LIMITS, at(0));
        assert_eq!(refused.take(&LIMITS, at(29)), Err(at(30)));
        assert!(refused.take(&LIMITS, at(30)).is_ok());
        let sooner = refused.refused(None, &LIMITS, at(1));
        assert_eq!(
            sooner.paused_until,
            Some(at(30)),
            "a shorter one does not lift it"
        );
    }

    #[test]
    fn refusals_halve_the_rate_down_to_a_floor_and_time_brings_it_back() {
        let full = Bucket::full(&LIMITS, at(0));
        let once = full.refused(None, &LIMITS, at(0));
        assert!((once.rate(&LIMITS, at(0)) - 1.0).abs() < 1e-9);
        let together = once.refused(None, &LIMITS, at(0));
        assert!(
            (together.rate(&LIMITS, at(0)) - 1.0).abs() < 1e-9,
            "one burst, one halving"
        );
        let mut often = once;
        for second in 0..20 {
            often = often.refused(None, &LIMITS, at(second * 2));
        }
        assert!(often.rate(&LIMITS, at(38)) >= LIMITS.slowest);
        assert!((once.rate(&LIMITS, at(100)) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_clock_that_runs_behind_takes_nothing_back() {
        let bucket = Bucket::full(&LIMITS, at(10)).charge(5.0, &LIMITS, at(10));
        let behind = bucket.charge(0.0, &LIMITS, at(3));
        assert_eq!(behind, bucket);
    }
}
