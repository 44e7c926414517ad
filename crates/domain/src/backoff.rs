//! How long to wait before trying again.

use chrono::TimeDelta;

/// The pause before attempt `attempt + 1`: drawn evenly between nothing and `first` doubled at each further
/// attempt (counted from 1), at most `longest`. `roll` is the draw, evenly distributed over all its values.
#[must_use]
pub fn full_jitter(attempt: i32, first: TimeDelta, longest: TimeDelta, roll: u64) -> TimeDelta {
    let doublings = attempt.clamp(1, 32).unsigned_abs() - 1;
    let first = first.num_milliseconds().clamp(0, i64::from(i32::MAX));
    let ceiling = (first << doublings).min(longest.num_milliseconds().max(0));
    let drawn = (u128::from(roll) * (u128::from(ceiling.unsigned_abs()) + 1)) >> 64;
    TimeDelta::milliseconds(i64::try_from(drawn).unwrap_or(ceiling))
}

/// An evenly distributed number that depends on `seed` alone: a draw for whoever has no dice, but an
/// identifier that differs from everybody else's.
#[must_use]
pub const fn draw(seed: u128) -> u64 {
    // SplitMix64 over both halves.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half is taken by itself"
    )]
    let (low, high) = (seed as u64, (seed >> 64) as u64);
    let mut mixed = low ^ high.rotate_left(32);
    mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: TimeDelta = TimeDelta::milliseconds(200);
    const LONGEST: TimeDelta = TimeDelta::seconds(60);

    #[test]
    fn the_ceiling_doubles_with_each_attempt_up_to_the_longest() {
        let ceiling = |attempt| full_jitter(attempt, FIRST, LONGEST, u64::MAX);
        assert_eq!(ceiling(1), FIRST);
        assert_eq!(ceiling(3), FIRST * 4);
        assert_eq!(ceiling(30), LONGEST);
        assert_eq!(ceiling(i32::MAX), LONGEST);
        assert_eq!(full_jitter(30, FIRST, LONGEST, 0), TimeDelta::zero());
    }

    #[test]
    fn draws_are_spread_over_the_whole_pause() {
        let mut tenths = [0_u32; 10];
        for seed in 0..10_000_u128 {
            let pause = full_jitter(1, TimeDelta::milliseconds(999), LONGEST, draw(seed));
            tenths[usize::try_from(pause.num_milliseconds() / 100).unwrap()] += 1;
        }
        assert!(
            tenths.iter().all(|count| (800..1_200).contains(count)),
            "{tenths:?}"
        );
    }
}
