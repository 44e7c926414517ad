//! Even steps over an interval of time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::Interval;

/// An interval cut into steps of equal length; the last one may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    interval: Interval,
    step: TimeDelta,
}

impl Grid {
    /// Steps of the given length, at least a millisecond.
    #[must_use]
    pub fn new(interval: Interval, step: TimeDelta) -> Self {
        Self {
            interval,
            step: step.max(TimeDelta::milliseconds(1)),
        }
    }

    /// How long a step is.
    #[must_use]
    pub const fn step(&self) -> TimeDelta {
        self.step
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let steps = self.interval.length().num_milliseconds() / self.step.num_milliseconds();
        usize::try_from(steps).unwrap_or(0) + 1
    }

    /// Whether the interval is empty; a grid never is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Which step a time lies in.
    #[must_use]
    pub fn index(&self, at: DateTime<Utc>) -> Option<usize> {
        if !self.interval.contains(at) {
            return None;
        }
        let since = (at - self.interval.from).num_milliseconds();
        usize::try_from(since / self.step.num_milliseconds()).ok()
    }

    /// When a step begins.
    #[must_use]
    pub fn time(&self, index: usize) -> DateTime<Utc> {
        let steps = i32::try_from(index).unwrap_or(i32::MAX);
        self.interval.from + self.step * steps
    }
}
