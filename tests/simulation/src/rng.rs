//! Chance from a seed: the same numbers on every machine and with every version of every library.

use std::ops::RangeInclusive;

use chrono::TimeDelta;

/// `SplitMix64`: <https://prng.di.unimi.it/splitmix64.c>. Its own few lines, because a failing seed that
/// is committed must still mean the same schedule in years.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The numbers of a seed.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or_default()
    }

    /// A number of a range.
    pub fn within(&mut self, range: RangeInclusive<i64>) -> i64 {
        let width = range.end().abs_diff(*range.start()).saturating_add(1);
        range.start() + i64::try_from(self.next() % width).unwrap_or_default()
    }

    /// Whether something happens that happens so many times in ten thousand.
    pub const fn happens(&mut self, in_ten_thousand: u64) -> bool {
        self.next() % 10_000 < in_ten_thousand
    }

    /// A time of a range of milliseconds.
    pub fn millis(&mut self, range: RangeInclusive<i64>) -> TimeDelta {
        TimeDelta::milliseconds(self.within(range))
    }
}
