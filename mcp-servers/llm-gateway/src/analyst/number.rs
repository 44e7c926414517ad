//! Small arithmetic, and numbers as people read them.

/// A count as a fraction.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of calls and milliseconds stay far below 2^53"
)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// The middle value; 0 of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|value| value.is_finite());
    if values.is_empty() {
        return 0.0;
    }
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// Four significant digits, so that notes stay short.
pub(crate) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// How many times larger `after` is; a floor keeps a quiet "before" from making everything huge.
pub(crate) fn ratio(before: f64, after: f64, floor: f64) -> f64 {
    after.max(floor) / before.max(floor)
}

/// A number without digits that say nothing.
pub(crate) fn plain(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || (size - size.round()).abs() < 0.005 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{}", rounded(value))
    }
}

/// A duration in the unit that a person would use.
pub(crate) fn millis(value: f64) -> String {
    if value >= 1_000.0 {
        format!("{} s", plain(value / 1_000.0))
    } else {
        format!("{} ms", plain(value))
    }
}

/// A share as per cent.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 1.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(plain(3.0), "3");
        assert_eq!(plain(12.345), "12.3");
        assert_eq!(plain(1234.5), "1234");
        assert_eq!(millis(1_520.0), "1.52 s");
        assert_eq!(millis(38.04), "38.0 ms");
        assert_eq!(percent(0.125), "12 %");
        assert_eq!(percent(0.004), "0.4 %");
    }

    #[test]
    fn the_middle_of_nothing_is_zero() {
        assert!(median(Vec::new()).abs() < f64::EPSILON);
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((rounded(1234.56) - 1235.0).abs() < f64::EPSILON);
    }
}
