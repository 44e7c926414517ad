//! The proofs that were accepted lately, so that none is accepted twice; bounded in every direction.
//!
//! Two generations: what was noted lately, and what was noted before that. A generation is as long as a
//! proof can stay acceptable, so whatever is forgotten is too old to be accepted again. A clock that is
//! set back keeps everything for longer.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

/// Proofs that one key may make in a generation: about sixty a second, where a harness makes a few.
const PER_KEY: usize = 4_096;
/// Proofs that all keys together may make in a generation; sixteen bytes each.
const IN_ALL: usize = 500_000;

/// Whether a proof is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Novelty {
    /// It is, and it is noted now.
    New,
    /// It was noted before.
    Seen,
    /// Its key has made all that it may.
    TooMany,
    /// There is no room for any more.
    Full,
}

/// Remembers proofs for as long as they can be presented.
#[derive(Debug)]
pub(super) struct Seen {
    length_seconds: i64,
    began: i64,
    lately: Generation,
    before: Generation,
    per_key: usize,
    in_all: usize,
}

type Name = [u8; 16];

#[derive(Debug, Default)]
struct Generation {
    by_key: HashMap<Box<str>, HashSet<Name>>,
    count: usize,
}

impl Generation {
    fn holds(&self, key: &str, name: &Name) -> bool {
        self.by_key
            .get(key)
            .is_some_and(|names| names.contains(name))
    }
}

impl Seen {
    /// Remembers for at least this long.
    pub(super) fn remembering(seconds: i64) -> Self {
        Self {
            // A proof that was noted in the last second of a generation must outlive the next one.
            length_seconds: seconds + 1,
            began: i64::MIN,
            lately: Generation::default(),
            before: Generation::default(),
            per_key: PER_KEY,
            in_all: IN_ALL,
        }
    }

    /// Notes the proof called `jti` of a key at `now`, in seconds since 1970.
    pub(super) fn note(&mut self, key: &str, jti: &str, now: i64) -> Novelty {
        self.turn(now);
        let name = short(jti);
        if self.lately.holds(key, &name) || self.before.holds(key, &name) {
            return Novelty::Seen;
        }
        if self.lately.count >= self.in_all {
            return Novelty::Full;
        }
        match self.lately.by_key.get_mut(key) {
            Some(names) if names.len() >= self.per_key => return Novelty::TooMany,
            Some(names) => {
                names.insert(name);
            }
            None => {
                self.lately.by_key.insert(key.into(), HashSet::from([name]));
            }
        }
        self.lately.count += 1;
        Novelty::New
    }

    fn turn(&mut self, now: i64) {
        let age = now.saturating_sub(self.began);
        if age < self.length_seconds {
            return;
        }
        let last = std::mem::take(&mut self.lately);
        // After a pause of two generations the last one is too old as well.
        self.before = if age < self.length_seconds.saturating_mul(2) {
            last
        } else {
            Generation::default()
        };
        self.began = now;
    }
}

/// Half of a SHA-256: whoever wants two names that share it has to find a collision, and would gain a
/// proof that is refused.
fn short(jti: &str) -> Name {
    let mut name = Name::default();
    for (to, from) in name.iter_mut().zip(Sha256::digest(jti)) {
        *to = from;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: i64 = 65;

    #[test]
    fn a_proof_is_new_once_for_as_long_as_it_could_be_accepted() {
        for offset in 0..200 {
            let mut seen = Seen::remembering(KEEP);
            // Generations begin with the first proof of all.
            seen.note("key", "first", 1_000);
            assert_eq!(seen.note("key", "a", 1_000 + offset), Novelty::New);
            for later in 0..=KEEP {
                let at = 1_000 + offset + later;
                assert_eq!(seen.note("key", "a", at), Novelty::Seen, "{offset}+{later}");
                seen.note("key", &format!("other-{later}"), at);
            }
        }
    }

    #[test]
    fn the_same_name_of_another_key_is_another_proof() {
        let mut seen = Seen::remembering(KEEP);
        assert_eq!(seen.note("one", "a", 0), Novelty::New);
        assert_eq!(seen.note("two", "a", 0), Novelty::New);
    }

    #[test]
    fn what_is_remembered_is_bounded_for_a_key_and_in_all_and_is_forgotten() {
        let mut seen = Seen::remembering(KEEP);
        (seen.per_key, seen.in_all) = (10, 25);
        let mut told = Vec::new();
        for key in ["one", "two", "three"] {
            told.extend((0..11).map(|n| seen.note(key, &n.to_string(), 0)));
        }
        let count = |novelty| told.iter().filter(|told| **told == novelty).count();
        assert_eq!(
            (
                count(Novelty::New),
                count(Novelty::TooMany),
                count(Novelty::Full)
            ),
            (25, 2, 6)
        );
        assert_eq!(
            seen.note("one", "0", 10),
            Novelty::Seen,
            "refused, not lost"
        );

        let later = 3 * KEEP;
        assert_eq!(seen.note("one", "0", later), Novelty::New);
        assert_eq!((seen.lately.count, seen.before.count), (1, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_forgets_nothing() {
        let mut seen = Seen::remembering(KEEP);
        assert_eq!(seen.note("key", "a", 10_000), Novelty::New);
        assert_eq!(seen.note("key", "b", 5_000), Novelty::New);
        assert_eq!(seen.note("key", "a", 5_100), Novelty::Seen);
    }
}
