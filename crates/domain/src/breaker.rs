//! Stops the making of sandboxes that cannot be made.
//!
//! ```text
//! Closed ──5 of the last 10 failed, or the region is full──▶ Open ──time──▶ HalfOpen (one probe)
//!    ▲                                                        ▲  │              │    │
//!    └──────────────────────── a sandbox got ready ───────────│──┴──────────────┘    │
//!                                                             └─── the probe failed ─┘ (twice as long)
//! ```
//!
//! One breaker belongs to one image in one region. An image of which nothing ever got ready is made a few
//! at a time until one does, so a bad one costs a few machines and then one probe at a time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{backoff::full_jitter, sandbox::PROVISION_PATIENCE};

/// Outcomes that are remembered.
pub const REMEMBERED: usize = 10;
/// Failures among them that open it.
pub const TOLERATED: i64 = 5;
/// Sandboxes that may be tried, failed ones included, before the first ever got ready.
pub const UNPROVEN: i64 = 5;

const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(30);
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(30);

/// Whether an image is made in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    /// What it lets through.
    pub state: BreakerState,
    /// The last outcomes, oldest first: whether each got ready.
    pub recent: Vec<bool>,
    /// Whether any sandbox of it ever got ready.
    pub proven: bool,
    /// How often in a row it opened.
    pub trips: i32,
}

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing.
    Open {
        /// When one may try.
        until: DateTime<Utc>,
    },
    /// One that tries.
    HalfOpen {
        /// When the probe is taken for lost and another may try.
        until: DateTime<Utc>,
    },
}

impl BreakerState {
    /// How the store and the API spell it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half_open",
        }
    }

    /// When it changes by itself.
    #[must_use]
    pub const fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Closed => None,
            Self::Open { until } | Self::HalfOpen { until } => Some(*until),
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: BreakerState::Closed,
            recent: Vec::new(),
            proven: false,
            trips: 0,
        }
    }
}

impl Breaker {
    /// How many of `wanted` may be begun while `coming` are under way, and what it is once they are.
    #[must_use]
    pub fn admit(self, wanted: i64, coming: i64, now: DateTime<Utc>) -> (Self, i64) {
        if wanted <= 0 {
            return (self, 0);
        }
        match self.state {
            BreakerState::Closed if self.proven => (self, wanted),
            BreakerState::Closed => {
                let tried = coming.saturating_add(self.failures());
                (self, wanted.min((UNPROVEN - tried).max(0)))
            }
            BreakerState::Open { until } | BreakerState::HalfOpen { until } if now < until => {
                (self, 0)
            }
            BreakerState::Open { .. } | BreakerState::HalfOpen { .. } => {
                let until = now + PROVISION_PATIENCE;
                let state = BreakerState::HalfOpen { until };
                (Self { state, ..self }, 1)
            }
        }
    }

    /// Notes that a sandbox got ready. One that was begun before it opened proves nothing about now.
    #[must_use]
    pub fn succeeded(self) -> Self {
        match self.state {
            BreakerState::Open { .. } => Self {
                proven: true,
                ..self
            },
            BreakerState::HalfOpen { .. } => Self {
                state: BreakerState::Closed,
                recent: vec![true],
                proven: true,
                trips: 0,
            },
            BreakerState::Closed => Self {
                proven: true,
                ..self.remember(true)
            },
        }
    }

    /// Notes that a sandbox could not be made. `roll`, evenly distributed over all its values, spreads the
    /// return of breakers that opened together.
    #[must_use]
    pub fn failed(self, now: DateTime<Utc>, roll: u64) -> Self {
        match self.state {
            BreakerState::Open { .. } => self,
            BreakerState::HalfOpen { .. } => self.trip(now, roll),
            BreakerState::Closed => {
                let noted = self.remember(false);
                if noted.failures() >= TOLERATED {
                    noted.trip(now, roll)
                } else {
                    noted
                }
            }
        }
    }

    /// Notes that the region has no room at all: there is nothing to be learnt from four more tries.
    #[must_use]
    pub fn exhausted(self, now: DateTime<Utc>, roll: u64) -> Self {
        match self.state {
            BreakerState::Open { .. } => self,
            BreakerState::HalfOpen { .. } | BreakerState::Closed => {
                self.remember(false).trip(now, roll)
            }
        }
    }

    fn trip(self, now: DateTime<Utc>, roll: u64) -> Self {
        let trips = self.trips.saturating_add(1);
        let doublings = trips.unsigned_abs().saturating_sub(1);
        // At least half of the pause, so that jitter never makes it none.
        let whole = (FIRST_PAUSE * (1 << doublings.min(16))).min(LONGEST_PAUSE);
        let until = now + whole / 2 + full_jitter(1, whole / 2, whole / 2, roll);
        Self {
            state: BreakerState::Open { until },
            trips,
            ..self
        }
    }

    /// Failures that are remembered.
    fn failures(&self) -> i64 {
        let failed = self.recent.iter().filter(|ready| !**ready).count();
        i64::try_from(failed).unwrap_or(i64::MAX)
    }

    fn remember(mut self, ready: bool) -> Self {
        if self.recent.len() >= REMEMBERED {
            self.recent.remove(0);
        }
        self.recent.push(ready);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn opened(mut breaker: Breaker) -> (Breaker, DateTime<Utc>) {
        for _ in 0..TOLERATED {
            breaker = breaker.failed(T0, 7);
        }
        let BreakerState::Open { until } = breaker.state else {
            panic!("{breaker:?}")
        };
        (breaker, until)
    }

    #[test]
    fn it_opens_at_the_fifth_failure_of_the_last_ten_and_not_before() {
        let mut breaker = Breaker::default().succeeded();
        for _ in 0..TOLERATED - 1 {
            breaker = breaker.failed(T0, 0).succeeded();
        }
        assert_eq!(breaker.state, BreakerState::Closed, "4 of 9");
        assert!(matches!(
            breaker.clone().failed(T0, 0).state,
            BreakerState::Open { .. }
        ));
        // The oldest failures are forgotten in time.
        for _ in 0..REMEMBERED {
            breaker = breaker.succeeded();
        }
        assert_eq!(breaker.failed(T0, 0).state, BreakerState::Closed);
    }

    #[test]
    fn an_image_that_never_got_ready_is_made_a_few_at_a_time() {
        let (breaker, first) = Breaker::default().admit(32, 0, T0);
        assert_eq!(first, UNPROVEN);
        assert_eq!(breaker.clone().admit(32, UNPROVEN, T0).1, 0);
        let failed = breaker.clone().failed(T0, 0).failed(T0, 0);
        assert_eq!(
            failed.admit(32, 2, T0).1,
            UNPROVEN - 4,
            "a failure frees no place"
        );
        assert_eq!(breaker.succeeded().admit(32, UNPROVEN, T0).1, 32);
    }

    #[test]
    fn an_open_one_lets_one_probe_through_in_its_time_and_closes_on_success() {
        let (open, until) = opened(Breaker::default());
        assert_eq!(
            open.clone()
                .admit(9, 0, until - TimeDelta::milliseconds(1))
                .1,
            0
        );
        let (half, probes) = open.admit(9, 0, until);
        assert_eq!(probes, 1);
        assert_eq!(half.clone().admit(9, 1, until).1, 0, "one, whoever asks");
        let closed = half.succeeded();
        assert_eq!((closed.state, closed.trips), (BreakerState::Closed, 0));
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer_and_never_for_ever() {
        let (mut breaker, mut until) = opened(Breaker::default());
        let mut longest = TimeDelta::zero();
        for _ in 0..40 {
            let (half, probes) = breaker.admit(1, 0, until);
            assert_eq!(probes, 1);
            breaker = half.failed(until, u64::MAX);
            let next = breaker.state.until().unwrap();
            longest = longest.max(next - until);
            until = next;
        }
        assert!(
            longest > FIRST_PAUSE && longest <= LONGEST_PAUSE,
            "{longest}"
        );
    }

    #[test]
    fn a_lost_probe_does_not_hold_it_half_open_for_ever() {
        let (open, until) = opened(Breaker::default());
        let (half, _) = open.admit(1, 0, until);
        let lost = half.state.until().unwrap();
        assert_eq!(half.admit(1, 0, lost).1, 1);
    }

    #[test]
    fn nothing_wanted_uses_no_probe_up() {
        let (open, until) = opened(Breaker::default());
        assert_eq!(open.clone().admit(0, 0, until), (open, 0));
    }

    #[test]
    fn late_answers_of_sandboxes_begun_earlier_do_not_close_it() {
        let (open, until) = opened(Breaker::default());
        let late = open.succeeded();
        assert_eq!(late.state, BreakerState::Open { until });
    }

    #[test]
    fn a_full_region_opens_it_at_once() {
        let full = Breaker::default().succeeded().exhausted(T0, 0);
        assert!(matches!(full.state, BreakerState::Open { .. }));
    }
}
