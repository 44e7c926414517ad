//! How much a counter grew between two readings.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::Sample;

/// Growth between two neighbouring readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    /// When the second reading was taken.
    pub(super) at: DateTime<Utc>,
    /// Seconds since the first.
    pub(super) seconds: f64,
    /// By how much it grew.
    pub(super) by: f64,
}

/// When a service's metrics were read, and how long a silence breaks a series.
#[derive(Debug, Clone)]
pub(super) struct Readings {
    times: Vec<DateTime<Utc>>,
    longest_gap: TimeDelta,
}

impl Readings {
    /// From the times of all samples of the service, in any order.
    pub(super) fn of(mut times: Vec<DateTime<Utc>>) -> Self {
        times.sort_unstable();
        times.dedup();
        let mut gaps: Vec<TimeDelta> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_unstable();
        let usual = gaps.get(gaps.len() / 2).copied().unwrap_or_default();
        Self {
            times,
            longest_gap: (usual * 10).max(TimeDelta::minutes(2)),
        }
    }

    /// The growth of one counter from reading to reading.
    ///
    /// A counter that falls was reset: its process started again from zero. A counter that is
    /// missing while its service was read has not grown: exporters show a counter only once it
    /// counted something, so the first appearance of `errors_total` is growth from zero.
    pub(super) fn growth(&self, samples: &[Sample]) -> Vec<Growth> {
        // Series read at instants of their own have no common readings to be missing from.
        let common = self.times.len() <= 4 * samples.len().max(60);
        let filled = if common {
            self.filled(samples)
        } else {
            samples.to_vec()
        };
        filled
            .windows(2)
            .filter(|pair| pair[1].at - pair[0].at <= self.longest_gap)
            .map(|pair| {
                let by = pair[1].value - pair[0].value;
                Growth {
                    at: pair[1].at,
                    seconds: (pair[1].at - pair[0].at).as_seconds_f64(),
                    by: if by < 0.0 { pair[1].value.max(0.0) } else { by },
                }
            })
            .filter(|growth| growth.seconds > 0.0)
            .collect()
    }

    fn filled(&self, samples: &[Sample]) -> Vec<Sample> {
        let mut own = samples.iter().copied().peekable();
        let mut filled = Vec::with_capacity(self.times.len());
        let mut last = 0.0;
        let mut last_reading: Option<DateTime<Utc>> = None;
        for &at in &self.times {
            if last_reading.is_some_and(|before| at - before > self.longest_gap) {
                // Another stretch of telemetry: whatever counted there began anew.
                last = own
                    .peek()
                    .filter(|sample| sample.at == at)
                    .map_or(0.0, |s| s.value);
            }
            while let Some(sample) = own.next_if(|sample| sample.at <= at) {
                last = sample.value;
            }
            filled.push(Sample { at, value: last });
            last_reading = Some(at);
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::Readings;
    use crate::model::Sample;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn growth(readings: &[i64], samples: &[(i64, f64)]) -> Vec<f64> {
        let samples: Vec<Sample> = samples
            .iter()
            .map(|&(seconds, value)| Sample {
                at: at(seconds),
                value,
            })
            .collect();
        let readings = Readings::of(readings.iter().map(|&seconds| at(seconds)).collect());
        readings
            .growth(&samples)
            .iter()
            .map(|growth| growth.by)
            .collect()
    }

    #[test]
    fn a_counter_that_falls_started_again_from_zero() {
        let samples = [(0, 100.0), (5, 110.0), (10, 3.0), (15, 5.0)];
        assert_eq!(growth(&[0, 5, 10, 15], &samples), [10.0, 3.0, 2.0]);
    }

    #[test]
    fn the_first_appearance_of_a_counter_is_growth_from_zero() {
        assert_eq!(
            growth(&[0, 5, 10, 15], &[(10, 7.0), (15, 9.0)]),
            [0.0, 7.0, 2.0]
        );
    }

    #[test]
    fn a_counter_that_is_there_from_the_first_reading_does_not_start_with_a_jump() {
        assert_eq!(growth(&[0, 5], &[(0, 5000.0), (5, 5001.0)]), [1.0]);
    }

    #[test]
    fn a_counter_that_vanishes_has_stopped_growing() {
        assert_eq!(growth(&[0, 5, 10], &[(0, 5.0), (5, 6.0)]), [1.0, 0.0]);
    }

    #[test]
    fn nothing_is_concluded_across_a_gap() {
        let readings = [0, 5, 10, 4000, 4005];
        let samples = [(0, 5.0), (5, 6.0), (10, 7.0), (4000, 900.0), (4005, 901.0)];
        assert_eq!(growth(&readings, &samples), [1.0, 1.0, 1.0]);
    }
}
