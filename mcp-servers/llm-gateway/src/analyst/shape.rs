//! The shape of one series over time: flat, a sudden step, or a ramp and where it begins.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::number::{float, median, rounded};

/// The shape of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "snake_case")]
pub(crate) enum Shape {
    /// It does not rise.
    Flat,
    /// It rises at once.
    Step {
        /// When.
        at: DateTime<Utc>,
        /// Its usual value before.
        from: f64,
        /// Where it goes.
        to: f64,
    },
    /// It rises little by little.
    Ramp {
        /// When the rise begins.
        start: DateTime<Utc>,
        /// When it reaches its height.
        full: DateTime<Utc>,
        /// Its usual value before.
        from: f64,
        /// Where it goes.
        to: f64,
    },
}

/// A rise that takes at least this long is a ramp.
const RAMP_AT_LEAST: TimeDelta = TimeDelta::seconds(75);

/// Reads the shape of a series; points are oldest first.
pub(crate) fn shape(points: &[(DateTime<Utc>, f64)]) -> Shape {
    if points.len() < 5 {
        return Shape::Flat;
    }
    let smooth = smoothed(points);
    let top = smooth.iter().copied().fold(f64::MIN, f64::max);
    let bottom = smooth.iter().copied().fold(f64::MAX, f64::min);
    let span = top - bottom;
    if span <= 0.0 || span < 0.2 * top.abs().max(1e-9) {
        return Shape::Flat;
    }
    let Some(full) = smooth.iter().position(|value| *value >= top - 0.05 * span) else {
        return Shape::Flat;
    };
    if full < 2 {
        return Shape::Flat;
    }
    let (start, base) = hinge(points, &smooth, full);
    if top - base < 0.4 * span {
        return Shape::Flat;
    }
    let took = points[full].0 - points[start].0;
    let climb = &smooth[start..=full];
    let rising = climb.windows(2).filter(|pair| pair[1] > pair[0]).count();
    let falling = climb.windows(2).filter(|pair| pair[1] < pair[0]).count();
    // The largest single step of a ramp is a small part of the whole rise.
    let leap = climb
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .fold(0.0, f64::max);
    let gradual = climb.len() >= 4 && rising > falling && leap < 0.6 * (top - base);
    if took >= RAMP_AT_LEAST && gradual {
        Shape::Ramp {
            start: points[start].0,
            full: points[full].0,
            from: rounded(base),
            to: rounded(top),
        }
    } else {
        let leap_at = (start + 1..=full)
            .max_by(|a, b| {
                let rise = |at: usize| smooth[at] - smooth[at - 1];
                rise(*a).total_cmp(&rise(*b))
            })
            .unwrap_or(full);
        Shape::Step {
            at: points[leap_at].0,
            from: rounded(base),
            to: rounded(top),
        }
    }
}

/// Median of three neighbours, so that one odd scrape is no shape.
fn smoothed(points: &[(DateTime<Utc>, f64)]) -> Vec<f64> {
    (0..points.len())
        .map(|at| {
            let from = at.saturating_sub(1);
            let to = (at + 1).min(points.len() - 1);
            median(points[from..=to].iter().map(|point| point.1).collect())
        })
        .collect()
}

/// Where "flat, then rising in a line up to `full`" fits best, and the flat part's height.
fn hinge(points: &[(DateTime<Utc>, f64)], smooth: &[f64], full: usize) -> (usize, f64) {
    let seconds = |at: usize| {
        float(
            (points[at].0 - points[0].0)
                .num_milliseconds()
                .unsigned_abs(),
        ) / 1_000.0
    };
    let mut best = (0, smooth[0]);
    let mut least = f64::MAX;
    for start in 0..full {
        let base = median(smooth[..=start].to_vec());
        let length = seconds(full) - seconds(start);
        if length <= 0.0 {
            continue;
        }
        let slope = (smooth[full] - base) / length;
        let error: f64 = (0..=full)
            .map(|at| {
                let line = if at <= start {
                    base
                } else {
                    base + slope * (seconds(at) - seconds(start))
                };
                (smooth[at] - line).powi(2)
            })
            .sum();
        if error < least {
            least = error;
            best = (start, base);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Vec<(DateTime<Utc>, f64)> {
        let step = TimeDelta::seconds(15);
        let mut at = DateTime::UNIX_EPOCH;
        values
            .iter()
            .map(|value| {
                at += step;
                (at, *value)
            })
            .collect()
    }

    #[test]
    fn a_slow_rise_is_a_ramp_that_begins_where_the_rise_begins() {
        let mut values = vec![1.0, 2.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 2.0, 1.0];
        values.extend((1..=12).map(|step| 1.0 + 1.5 * f64::from(step)));
        values.extend([19.0; 6]);
        let points = series(&values);

        let Shape::Ramp { start, to, .. } = shape(&points) else {
            panic!("{:?}", shape(&points));
        };
        let truth = points[9].0;
        assert!((start - truth).abs() <= TimeDelta::seconds(45), "{start}");
        assert!((to - 19.0).abs() < 0.5);
    }

    #[test]
    fn a_jump_is_a_step() {
        let mut values = vec![3.0; 12];
        values.extend([20.0; 10]);
        let points = series(&values);
        let Shape::Step { at, .. } = shape(&points) else {
            panic!("{:?}", shape(&points));
        };
        assert!((at - points[12].0).abs() <= TimeDelta::seconds(15));
    }

    #[test]
    fn noise_without_a_rise_is_flat() {
        let values: Vec<f64> = (0..30).map(|at| 10.0 + f64::from(at % 3) * 0.4).collect();
        assert_eq!(shape(&series(&values)), Shape::Flat);
        assert_eq!(shape(&[]), Shape::Flat);
    }
}
