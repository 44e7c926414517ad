//! Which series changed most at an onset, and when each of them left its usual band.

use chrono::{DateTime, Utc};
use nightshift_protocol::tools::telemetry::{MetricAnomaly, Windows};

use crate::{
    series::{Derived, Quantity},
    stats::{Sorted, rounded, share},
};

/// Points that a series must have before the onset to know what is usual.
const MIN_BEFORE: usize = 5;

/// Points that it must have after it.
const MIN_AFTER: usize = 2;

/// With this many points before, the last quarter of them is left out of the baseline: a fault
/// that begins slowly, or an onset that was set a little late, must not hide in what is usual.
const LONG_BASELINE: usize = 20;

/// A series is out of its band this many spreads from its median; for noise in the shape of a
/// bell that is some four standard deviations.
const BAND: f64 = 3.0;

/// The next points, of which most must be out too.
const NEXT: usize = 3;

/// Following points that are looked at to tell a lasting breach from a blip.
const FOLLOWING: usize = 8;

/// From this many spreads on a change is certain. How much further a value goes depends on what it
/// measures (a wait grows a thousandfold, a pool of twelve never), so beyond it the earlier breach
/// counts for more.
const CERTAIN: f64 = 15.0;

/// Compares each series before and after; returns how many were compared, and those that changed,
/// most changed first: lasting changes before blips, and of the certain ones the earliest.
#[must_use]
pub fn rank(
    series: &[Derived],
    windows: &Windows,
    step_seconds: f64,
) -> (usize, Vec<MetricAnomaly>) {
    let mut compared = 0;
    let mut ranked = Vec::new();
    for one in series {
        if repeats_a_histogram(one, series) {
            continue;
        }
        if let Some(anomaly) = compare(one, windows, step_seconds) {
            compared += 1;
            ranked.push(anomaly);
        }
    }
    ranked.retain(|anomaly| anomaly.score.abs() >= 1.0);
    ranked.sort_by(|a, b| {
        let certainty = |anomaly: &MetricAnomaly| anomaly.score.abs().min(CERTAIN);
        (a.first_breach_at
            .is_none()
            .cmp(&b.first_breach_at.is_none()))
        .then(certainty(b).total_cmp(&certainty(a)))
        .then(a.first_breach_at.cmp(&b.first_breach_at))
        .then(b.score.abs().total_cmp(&a.score.abs()))
        .then_with(|| (&a.service, &a.metric, &a.labels).cmp(&(&b.service, &b.metric, &b.labels)))
    });
    (compared, ranked)
}

/// The sum of a histogram's observations says nothing that its quantiles and its count do not.
fn repeats_a_histogram(one: &Derived, all: &[Derived]) -> bool {
    one.metric.strip_suffix("_sum:rate").is_some_and(|base| {
        let median = format!("{base}:p50");
        all.iter()
            .any(|other| other.service == one.service && other.metric == median)
    })
}

fn compare(series: &Derived, windows: &Windows, step_seconds: f64) -> Option<MetricAnomaly> {
    let points = || {
        series
            .points
            .iter()
            .filter(|(at, _)| *at <= windows.after_to)
    };
    let before: Vec<f64> = points()
        .filter(|(at, _)| windows.before_from <= *at && *at < windows.onset)
        .map(|(_, value)| *value)
        .collect();
    let after: Vec<f64> = points()
        .filter(|(at, _)| *at >= windows.onset)
        .map(|(_, value)| *value)
        .collect();
    if before.len() < MIN_BEFORE || after.len() < MIN_AFTER {
        return None;
    }
    let (low, high) = Sorted::of(before.iter().chain(&after).copied())?.bounds();
    if high - low <= f64::EPSILON * high.abs().max(low.abs()) {
        return None;
    }
    let usual = if before.len() >= LONG_BASELINE {
        Sorted::of(before[..before.len() - before.len() / 4].iter().copied())?
    } else {
        Sorted::of(before.iter().copied())?
    };
    let median = usual.median();
    let spread = usual_spread(&usual, series.quantity, step_seconds);
    let distance = |value: f64| (value - median) / spread;
    let extreme = after.iter().copied().fold(median, |extreme, value| {
        if distance(value).abs() > distance(extreme).abs() {
            value
        } else {
            extreme
        }
    });
    let all: Vec<(DateTime<Utc>, f64)> = points()
        .map(|(at, value)| (*at, distance(*value)))
        .collect();
    Some(MetricAnomaly {
        service: series.service.to_string(),
        metric: series.metric.clone(),
        labels: series.labels.clone(),
        before: rounded(median),
        spread: rounded(spread),
        after: rounded(Sorted::of(after)?.median()),
        extreme: rounded(extreme),
        score: rounded(distance(extreme)),
        first_breach_at: lasting_breach(&all),
    })
}

/// The inter-quartile range, with floors under it: the spread of the middle nine tenths on the same
/// scale (a gauge that is mostly 0 has no quartiles to speak of), a twentieth of the median (a tenth
/// for quantiles), and the least that such a series can change by.
pub(super) fn usual_spread(usual: &Sorted, quantity: Quantity, step_seconds: f64) -> f64 {
    // In a normal distribution the middle nine tenths are 2.44 times as wide as the middle half.
    let tails = (usual.quantile(0.95) - usual.quantile(0.05)) / 2.44;
    let relative = match quantity {
        // Interpolated within buckets, from few observations a step: no more exact than that.
        Quantity::Quantile => 0.1,
        Quantity::Gauge { .. } | Quantity::Rate => 0.05,
    };
    let least = match quantity {
        // One event more in one step.
        Quantity::Rate => 1.0 / step_seconds.max(1.0),
        Quantity::Gauge { whole: true } => 0.1,
        Quantity::Gauge { whole: false } | Quantity::Quantile => 1e-3,
    };
    usual
        .inter_quartile_range()
        .max(tails)
        .max(relative * usual.median().abs())
        .max(least)
}

/// The first time at which the series leaves its band and stays out on the same side: for most of
/// the next few points, so that a blip shortly before the onset is not taken for it, and for most of
/// those that follow. Looks before the onset too: what moved first is closest to the cause.
fn lasting_breach(distances: &[(DateTime<Utc>, f64)]) -> Option<DateTime<Utc>> {
    (0..distances.len()).find_map(|index| {
        let (at, first) = distances[index];
        if first.abs() < BAND {
            return None;
        }
        let stays_out = |points: usize| {
            let end = distances.len().min(index + 1 + points);
            let following = &distances[index + 1..end];
            let same_side = |distance: f64| {
                distance.abs() >= BAND && distance.is_sign_positive() == first.is_sign_positive()
            };
            let out = following
                .iter()
                .filter(|(_, distance)| same_side(*distance))
                .count();
            !following.is_empty() && share(out, following.len()) >= 0.6
        };
        (stays_out(NEXT) && stays_out(FOLLOWING)).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::TimeDelta;

    use super::*;
    use crate::stats::number;

    const STEP: i64 = 30;

    fn at(step: usize) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(STEP) * i32::try_from(step).unwrap()
    }

    /// 50 steps before the onset, 12 after it.
    fn windows() -> Windows {
        Windows {
            before_from: at(0),
            onset: at(50),
            after_to: at(61),
            onset_estimated: false,
        }
    }

    fn series(metric: &str, quantity: Quantity, value: impl Fn(usize) -> f64) -> Derived {
        Derived {
            service: "svc".into(),
            metric: metric.to_owned(),
            labels: BTreeMap::new(),
            quantity,
            points: (0..62).map(|step| (at(step), value(step))).collect(),
        }
    }

    const GAUGE: Quantity = Quantity::Gauge { whole: false };

    /// Noise between -1 and 1 without a generator: the fractional parts of multiples of an
    /// irrational number, which repeat no pattern.
    fn noise(step: usize, salt: f64) -> f64 {
        let x = (number(step) + salt) * 12.9898;
        (x.sin() * 43_758.545_3).fract().abs() * 2.0 - 1.0
    }

    fn one(series: Derived) -> MetricAnomaly {
        let (compared, mut ranked) = rank(&[series], &windows(), 30.0);
        assert_eq!(compared, 1);
        ranked.remove(0)
    }

    #[test]
    fn a_shift_is_scored_with_its_sign_and_its_first_step() {
        let up = one(series("m", GAUGE, |i| {
            100.0 + noise(i, 0.0) + if i < 50 { 0.0 } else { 80.0 }
        }));
        assert!(up.score > 10.0, "{up:?}");
        assert_eq!(up.first_breach_at, Some(at(50)));
        assert!((up.before - 100.0).abs() < 1.0 && (up.after - 180.0).abs() < 1.5);

        let down = one(series("m", GAUGE, |i| {
            if i < 50 { 100.0 + noise(i, 0.0) } else { 0.0 }
        }));
        assert!(down.score < -10.0, "{down:?}");
        assert!(down.extreme.abs() < 1e-9);
    }

    #[test]
    fn noise_alone_scores_low_and_breaches_nothing() {
        let noisy: Vec<Derived> = (0..40_u32)
            .map(|n| {
                series(&format!("m{n}"), GAUGE, |i| {
                    50.0 + 10.0 * noise(i, f64::from(n) * 77.7)
                })
            })
            .collect();
        let (compared, ranked) = rank(&noisy, &windows(), 30.0);
        assert_eq!(compared, 40);
        for anomaly in ranked {
            assert!(anomaly.score.abs() < 3.0, "{anomaly:?}");
            assert_eq!(anomaly.first_breach_at, None);
        }
    }

    #[test]
    fn a_blip_shortly_before_the_onset_is_not_the_breach() {
        let shift = one(series("m", GAUGE, |i| {
            10.0 + noise(i, 4.0) + if i >= 50 || i == 47 { 40.0 } else { 0.0 }
        }));
        assert_eq!(shift.first_breach_at, Some(at(50)));
    }

    #[test]
    fn a_lasting_change_comes_before_a_higher_blip() {
        let blip = series("blip", GAUGE, |i| {
            if i == 55 { 900.0 } else { 10.0 + noise(i, 1.0) }
        });
        let shift = series("shift", GAUGE, |i| {
            10.0 + noise(i, 2.0) + if i < 50 { 0.0 } else { 50.0 }
        });
        let (_, ranked) = rank(&[blip, shift], &windows(), 30.0);

        assert_eq!(ranked[0].metric, "shift");
        assert_eq!(ranked[1].metric, "blip");
        assert!(ranked[1].score > ranked[0].score);
        assert_eq!(ranked[1].first_breach_at, None);
    }

    #[test]
    fn of_two_certain_changes_the_earlier_comes_first() {
        let late = series("late", GAUGE, |i| {
            10.0 + noise(i, 1.0) + if i < 54 { 0.0 } else { 9e5 }
        });
        let early = series("early", GAUGE, |i| {
            10.0 + noise(i, 2.0) + if i < 50 { 0.0 } else { 90.0 }
        });
        let slight = series("slight", GAUGE, |i| {
            10.0 + noise(i, 3.0) + if i < 48 { 0.0 } else { 9.0 }
        });
        let (_, ranked) = rank(&[late, slight, early], &windows(), 30.0);
        let names: Vec<&str> = ranked.iter().map(|one| one.metric.as_str()).collect();
        assert_eq!(names, ["early", "late", "slight"]);
    }

    #[test]
    fn what_grows_all_the_time_is_no_anomaly() {
        let steady = series("rows", Quantity::Gauge { whole: true }, |i| {
            1000.0 + 7.0 * number(i)
        });
        let (_, ranked) = rank(&[steady], &windows(), 30.0);
        assert!(
            ranked
                .iter()
                .all(|one| one.score < 3.0 && one.first_breach_at.is_none()),
            "{ranked:?}"
        );
    }

    #[test]
    fn a_slow_ramp_is_found_although_it_began_before_the_onset() {
        // A pool that fills from step 38 on, five a step; users notice at step 50.
        let ramp = one(series("in_use", Quantity::Gauge { whole: true }, |i| {
            2.0 + noise(i, 3.0).round() + 5.0 * number(i.saturating_sub(38))
        }));
        assert!(ramp.score > 10.0, "{ramp:?}");
        let breach = ramp.first_breach_at.unwrap();
        assert!(at(39) <= breach && breach <= at(42), "{breach}");
    }

    #[test]
    fn a_series_that_never_changes_is_not_compared() {
        let (compared, ranked) = rank(&[series("m", GAUGE, |_| 0.3)], &windows(), 30.0);
        assert_eq!((compared, ranked.len()), (0, 0));
    }

    #[test]
    fn a_constant_that_becomes_another_constant_is_compared() {
        let step = one(series("up", Quantity::Gauge { whole: true }, |i| {
            f64::from(u8::from(i < 50))
        }));
        assert!(step.score < -5.0, "{step:?}");
        assert_eq!(step.first_breach_at, Some(at(50)));
    }

    #[test]
    fn errors_from_nothing_count_for_more_than_one_stray_error() {
        let stray = series("stray:rate", Quantity::Rate, |i| {
            if i == 52 { 1.0 / 30.0 } else { 0.0 }
        });
        let burst = series(
            "burst:rate",
            Quantity::Rate,
            |i| if i < 50 { 0.0 } else { 4.0 },
        );
        let (_, ranked) = rank(&[stray, burst], &windows(), 30.0);

        assert_eq!(ranked[0].metric, "burst:rate");
        assert!(ranked[0].score > 50.0);
        let stray = ranked.iter().find(|anomaly| anomaly.metric == "stray:rate");
        assert!(stray.is_none_or(|anomaly| anomaly.first_breach_at.is_none()));
    }

    #[test]
    fn too_few_points_are_not_compared() {
        let mut short = series("m", GAUGE, |i| if i < 50 { 1.0 } else { 9.0 });
        short.points.drain(..46);
        assert_eq!(rank(&[short], &windows(), 30.0).0, 0);
    }

    #[test]
    fn the_sum_of_a_histogram_is_left_out_beside_its_quantiles() {
        let changed = |i: usize| if i < 50 { 1.0 } else { 9.0 };
        let sum = series("took_sum:rate", Quantity::Rate, changed);
        let median = series("took:p50", Quantity::Quantile, changed);
        let (_, ranked) = rank(&[sum.clone(), median], &windows(), 30.0);
        assert_eq!(ranked.len(), 1);
        assert_eq!(rank(&[sum], &windows(), 30.0).1.len(), 1);
    }
}
