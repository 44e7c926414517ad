//! Percentiles of a handful of measurements.

use serde::Serialize;

/// The usual four, by nearest rank: each is a value that was really measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of them were not slower.
    pub p50: f64,
    /// Nine in ten were not slower.
    pub p90: f64,
    /// Ninety-nine in a hundred were not slower.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

impl Percentiles {
    /// Of these values; `None` without any.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let place = (percent * sorted.len()).div_ceil(100).max(1) - 1;
            sorted.get(place).copied()
        };
        Some(Self {
            p50: rank(50)?,
            p90: rank(90)?,
            p99: rank(99)?,
            max: *sorted.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_to_a_hundred_they_are_their_own_names() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let found = Percentiles::of(&values).unwrap();
        let expected = Percentiles {
            p50: 50.0,
            p90: 90.0,
            p99: 99.0,
            max: 100.0,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn of_twenty_the_slowest_is_the_99th_and_of_none_there_are_none() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        let found = Percentiles::of(&values).unwrap();
        assert!((found.p50 - 10.0).abs() < f64::EPSILON);
        assert!((found.p99 - 20.0).abs() < f64::EPSILON);
        assert_eq!(Percentiles::of(&[]), None);
    }
}
