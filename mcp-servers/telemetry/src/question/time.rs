//! Which stretch of time a question is about, and what a store has of it.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::tools::TimeRange;

use super::Unanswerable;
use crate::{backend::Backend, model::Interval};

/// Before the alert, where nobody says otherwise.
const BEFORE: TimeDelta = TimeDelta::minutes(30);

/// After the alert, where nobody says otherwise.
const AFTER: TimeDelta = TimeDelta::minutes(5);

/// The longest range that a tool looks at.
const LONGEST: TimeDelta = TimeDelta::hours(24);

/// Windows that are named where there is no data.
const NAMED_WINDOWS: usize = 5;

/// A definite range for which there is data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What was asked for.
    pub interval: Interval,
    /// The stretches of it that there is data for, oldest first; at least one.
    pub covered: Vec<Interval>,
}

impl Asked {
    /// From the beginning of the first stretch to the end of the last.
    #[must_use]
    pub fn bounds(&self) -> Interval {
        let from = self
            .covered
            .first()
            .map_or(self.interval.from, |one| one.from);
        Interval {
            from,
            to: self.covered.last().map_or(self.interval.to, |one| one.to),
        }
    }

    /// The stretch that a time lies in, or the last one.
    #[must_use]
    pub fn stretch_around(&self, at: DateTime<Utc>) -> Interval {
        let around = self.covered.iter().find(|one| one.contains(at));
        around
            .or_else(|| self.covered.last())
            .copied()
            .unwrap_or(self.interval)
    }
}

/// Makes a time range definite: what is missing is filled in around the alert.
pub fn ask(
    backend: &dyn Backend,
    range: TimeRange,
    fired_at: DateTime<Utc>,
) -> Result<Asked, Unanswerable> {
    let interval = definite(range, fired_at)?;
    let windows = backend.windows();
    let covered: Vec<Interval> = joined(
        windows
            .iter()
            .filter_map(|window| window.overlap(&interval)),
    );
    if covered.is_empty() {
        return Err(Unanswerable::NoData {
            asked: interval,
            windows: nearest(windows, interval),
        });
    }
    Ok(Asked { interval, covered })
}

fn definite(range: TimeRange, fired_at: DateTime<Utc>) -> Result<Interval, Unanswerable> {
    let (earliest, latest) = (fired_at - BEFORE, fired_at + AFTER);
    let length = BEFORE + AFTER;
    let (from, to) = match (range.from, range.to) {
        (Some(from), Some(to)) => (from, to),
        (Some(from), None) if from < latest => (from, latest),
        (Some(from), None) => (from, from + length),
        (None, Some(to)) if to > earliest => (earliest, to),
        (None, Some(to)) => (to - length, to),
        (None, None) => (earliest, latest),
    };
    if from >= to {
        return Err(Unanswerable::Backwards { from, to });
    }
    if to - from > LONGEST {
        return Err(Unanswerable::TooLong {
            hours: LONGEST.num_hours(),
        });
    }
    Ok(Interval { from, to })
}

/// Overlapping stretches as one.
fn joined(stretches: impl Iterator<Item = Interval>) -> Vec<Interval> {
    let mut joined: Vec<Interval> = Vec::new();
    for next in stretches {
        match joined.last_mut() {
            Some(last) if next.from <= last.to => last.to = last.to.max(next.to),
            Some(_) | None => joined.push(next),
        }
    }
    joined
}

fn nearest(mut windows: Vec<Interval>, asked: Interval) -> Vec<Interval> {
    windows.sort_by_key(|window| {
        (window.from - asked.to)
            .max(asked.from - window.to)
            .max(TimeDelta::zero())
    });
    windows.truncate(NAMED_WINDOWS);
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn resolved(from: Option<i64>, to: Option<i64>) -> (i64, i64) {
        let range = TimeRange {
            from: from.map(at),
            to: to.map(at),
        };
        let interval = definite(range, at(1000)).unwrap();
        (
            (interval.from - at(0)).num_minutes(),
            (interval.to - at(0)).num_minutes(),
        )
    }

    #[test]
    fn what_is_not_said_is_filled_in_around_the_alert() {
        assert_eq!(resolved(None, None), (970, 1005));
        assert_eq!(resolved(Some(990), None), (990, 1005));
        assert_eq!(resolved(Some(2000), None), (2000, 2035));
        assert_eq!(resolved(None, Some(980)), (970, 980));
        assert_eq!(resolved(None, Some(100)), (65, 100));
        assert_eq!(resolved(Some(1), Some(2)), (1, 2));
    }

    #[test]
    fn a_range_that_is_backwards_or_too_long_is_refused() {
        let range = |from, to| TimeRange {
            from: Some(at(from)),
            to: Some(at(to)),
        };
        assert!(matches!(
            definite(range(5, 4), at(0)),
            Err(Unanswerable::Backwards { .. })
        ));
        let error = definite(range(0, 24 * 60 + 1), at(0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the time range is longer than 24 hours; ask for a shorter one"
        );
    }

    #[test]
    fn where_there_is_no_data_the_nearest_windows_are_named() {
        let window = |from, to| Interval {
            from: at(from),
            to: at(to),
        };
        let all = vec![window(0, 10), window(500, 510), window(90, 95)];
        let near = nearest(all, window(100, 120));
        assert_eq!(near, [window(90, 95), window(0, 10), window(500, 510)]);

        let error = Unanswerable::NoData {
            asked: window(100, 120),
            windows: near[..1].to_vec(),
        };
        assert_eq!(
            error.to_string(),
            "no telemetry between 1970-01-01T01:40:00Z and 1970-01-01T02:00:00Z; \
             data exists for 1970-01-01T01:30:00Z..1970-01-01T01:35:00Z"
        );
    }

    #[test]
    fn overlapping_windows_are_one_stretch() {
        let window = |from, to| Interval {
            from: at(from),
            to: at(to),
        };
        let all = [window(0, 10), window(5, 12), window(20, 30)];
        assert_eq!(joined(all.into_iter()), [window(0, 12), window(20, 30)]);
    }
}
