//! Seeded chance: ids, receipts, and what the dials let happen.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use uuid::Builder;

use crate::dials::Dials;

/// A source of chance that two accounts with the same seed and the same calls share.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Seeded", into = "Seeded")]
pub(crate) struct Luck {
    seed: u64,
    random: StdRng,
    pub(crate) dials: Dials,
    /// Grows with every draw: whether anything depended on chance.
    pub(crate) draws: u64,
}

impl Luck {
    pub(crate) fn new(seed: u64, dials: Dials) -> Self {
        Self {
            seed,
            random: StdRng::seed_from_u64(seed),
            dials,
            draws: 0,
        }
    }

    /// Starts over from a seed of its own, so that the seed alone says what follows.
    pub(crate) fn reseed(&mut self) {
        self.seed = self.random.random();
        self.random = StdRng::seed_from_u64(self.seed);
    }

    pub(crate) fn uuid(&mut self) -> String {
        self.draws += 1;
        Builder::from_random_bytes(self.random.random())
            .into_uuid()
            .to_string()
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.draws += 1;
        self.random.random()
    }

    /// One of `count`, which is not 0.
    pub(crate) fn one_of(&mut self, count: usize) -> usize {
        self.draws += 1;
        self.random.random_range(0..count)
    }

    /// A coin for one dial. A dial at 0 draws nothing, so that it changes nothing for the others.
    pub(crate) fn happens(&mut self, dial: impl Fn(&Dials) -> f64) -> bool {
        let probability = dial(&self.dials);
        if probability <= 0.0 {
            return false;
        }
        self.draws += 1;
        self.random.random_bool(probability.min(1.0))
    }
}

/// What is kept of it.
#[derive(Serialize, Deserialize)]
struct Seeded {
    seed: u64,
    dials: Dials,
}

impl From<Seeded> for Luck {
    fn from(seeded: Seeded) -> Self {
        Self::new(seeded.seed, seeded.dials)
    }
}

impl From<Luck> for Seeded {
    fn from(luck: Luck) -> Self {
        Self {
            seed: luck.seed,
            dials: luck.dials,
        }
    }
}
