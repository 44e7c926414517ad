//! Quantiles of a histogram from its cumulative buckets.

/// A bucket's upper bound and how many observations were at most that.
pub(super) type Bucket = (f64, f64);

/// The value below which the share `q` of the observations lies, interpolated within its bucket;
/// `None` without observations. The unbounded bucket counts as its lower bound.
pub(super) fn quantile(buckets: &[Bucket], q: f64) -> Option<f64> {
    let total = buckets.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    if total <= 0.0 {
        return None;
    }
    let wanted = q * total;
    let (mut lower, mut below) = (0.0, 0.0);
    for &(bound, count) in buckets {
        // Readings are not atomic: a wider bucket may lag behind a narrower one.
        let count = f64::max(count, below);
        if count >= wanted && count > below {
            if bound.is_infinite() {
                return Some(lower);
            }
            return Some(lower + (bound - lower) * ((wanted - below) / (count - below)).max(0.0));
        }
        if bound.is_finite() {
            lower = bound;
        }
        below = count;
    }
    Some(lower)
}

/// Reads the bound of a bucket from its `le` label.
pub(super) fn bound(le: &str) -> Option<f64> {
    match le {
        "+Inf" | "Inf" | "inf" | "+inf" => Some(f64::INFINITY),
        finite => finite.parse().ok().filter(|bound: &f64| bound.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::{bound, quantile};

    const BUCKETS: [(f64, f64); 4] = [
        (0.1, 50.0),
        (0.5, 90.0),
        (1.0, 100.0),
        (f64::INFINITY, 100.0),
    ];

    #[test]
    fn a_quantile_lies_within_its_bucket_in_proportion() {
        assert!((quantile(&BUCKETS, 0.5).unwrap() - 0.1).abs() < 1e-9);
        assert!((quantile(&BUCKETS, 0.95).unwrap() - 0.75).abs() < 1e-9);
        assert!((quantile(&BUCKETS, 0.25).unwrap() - 0.05).abs() < 1e-9);
    }

    #[test]
    fn what_lies_beyond_the_last_bound_counts_as_that_bound() {
        let buckets = [(0.1, 1.0), (0.5, 1.0), (f64::INFINITY, 10.0)];
        assert!((quantile(&buckets, 0.95).unwrap() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn no_observations_have_no_quantile() {
        assert_eq!(quantile(&[(0.1, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn bounds_are_read_as_exporters_write_them() {
        assert_eq!(bound("0.25"), Some(0.25));
        assert_eq!(bound("+Inf"), Some(f64::INFINITY));
        assert_eq!(bound("NaN"), None);
    }
}
