//! How badly a standard queue behaves within what AWS allows it. FIFO queues do not: their order and
//! their "exactly once" are promised.

use serde::{Deserialize, Serialize};

/// Probabilities from 0 (never) to 1 (always). All 0 is the best queue that the promise allows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dials {
    /// That a received message is there once more, with the same id and a receipt of its own: it
    /// comes again even if the first copy is deleted in time. Must be below 1, or it comes for ever.
    pub duplicate: f64,
    /// That the next message is any visible one instead of the oldest.
    pub reorder: f64,
    /// That a short poll overlooks a message, as it asks only some of the servers.
    pub overlook: f64,
}

/// A dial outside its range.
#[derive(Debug, thiserror::Error)]
#[error("the dial {0} must be at least 0, at most 1, and a duplicate below 1")]
pub struct InvalidDial(&'static str);

impl Dials {
    /// These dials if each is a probability.
    pub fn checked(self) -> Result<Self, InvalidDial> {
        for (name, value, most) in [
            ("duplicate", self.duplicate, 0.99),
            ("reorder", self.reorder, 1.0),
            ("overlook", self.overlook, 1.0),
        ] {
            if !(0.0..=most).contains(&value) {
                return Err(InvalidDial(name));
            }
        }
        Ok(self)
    }
}
