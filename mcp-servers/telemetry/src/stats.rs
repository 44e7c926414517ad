//! Order statistics that one odd value cannot move much, and the few number conversions they need.

/// Values in ascending order; never empty, never NaN.
#[derive(Debug, Clone, PartialEq)]
pub struct Sorted(Vec<f64>);

impl Sorted {
    /// Sorts the finite ones; `None` where there is none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut finite: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        if finite.is_empty() {
            return None;
        }
        finite.sort_unstable_by(f64::total_cmp);
        Some(Self(finite))
    }

    /// The value below which the share `q` (0 to 1) lies, interpolated between neighbours.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position between 0 and the length"
    )]
    pub fn quantile(&self, q: f64) -> f64 {
        let position = q.clamp(0.0, 1.0) * number(self.0.len() - 1);
        let below = position.floor() as usize;
        let above = (below + 1).min(self.0.len() - 1);
        let share = position - position.floor();
        self.0[below] + (self.0[above] - self.0[below]) * share
    }

    /// The middle value.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// How far apart the middle half lies.
    #[must_use]
    pub fn inter_quartile_range(&self) -> f64 {
        self.quantile(0.75) - self.quantile(0.25)
    }

    /// The smallest and the largest.
    #[must_use]
    pub fn bounds(&self) -> (f64, f64) {
        (self.0[0], self.0[self.0.len() - 1])
    }
}

/// A count as a number to calculate with; exact up to 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub const fn number(count: usize) -> f64 {
    count as f64
}

/// The same for a 64-bit count.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub const fn number_u64(count: u64) -> f64 {
    count as f64
}

/// A part of a whole, 0 where there is no whole.
#[must_use]
pub fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        number(part) / number(whole)
    }
}

/// Rounded to four significant digits: what a reader needs, in few characters.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return if value.is_finite() { value } else { 0.0 };
    }
    // Through text, because scaling by powers of ten would give 0.30000000000000004.
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{Sorted, rounded};

    #[test]
    fn quantiles_are_interpolated_between_neighbours() {
        let sorted = Sorted::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert!((sorted.median() - 2.5).abs() < 1e-12);
        assert!((sorted.quantile(0.0) - 1.0).abs() < 1e-12);
        assert!((sorted.quantile(1.0) - 4.0).abs() < 1e-12);
        assert!((sorted.inter_quartile_range() - 1.5).abs() < 1e-12);
    }

    #[test]
    fn one_odd_value_does_not_move_the_median() {
        let sorted = Sorted::of([1.0, 1.0, 1.0, 1.0, 1e9, f64::NAN]).unwrap();
        assert!((sorted.median() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_finite_is_nothing() {
        assert_eq!(Sorted::of([f64::NAN, f64::INFINITY]), None);
    }

    #[test]
    fn rounding_keeps_four_digits_of_small_and_large_values() {
        assert_eq!(rounded(0.000_123_456).to_string(), "0.0001235");
        assert_eq!(rounded(1_234_567.0).to_string(), "1235000");
        assert_eq!(rounded(0.1 + 0.2).to_string(), "0.3");
        assert_eq!(rounded(f64::NAN).to_string(), "0");
    }
}
