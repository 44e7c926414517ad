//! The time of a seed: it stands still while an actor runs.

use chrono::{DateTime, Utc};

use crate::core::{Shared, lock};

/// The time of a seed.
#[derive(Clone)]
pub struct SimulatedClock(pub Shared);

impl nightshift_engine::Clock for SimulatedClock {
    fn now(&self) -> DateTime<Utc> {
        lock(&self.0).now
    }
}

impl nightshift_mcp_kit::Clock for SimulatedClock {
    fn now(&self) -> DateTime<Utc> {
        lock(&self.0).now
    }
}
