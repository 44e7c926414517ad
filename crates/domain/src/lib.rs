//! What the platform talks about, and the rules it never breaks.
//!
//! Pure: no I/O, no async, no clock. Time comes in as an argument, decisions go out as values.

pub mod alert;
pub mod backoff;
pub mod breaker;
pub mod bucket;
pub mod evidence;
pub mod id;
pub mod investigation;
pub mod report;
pub mod sandbox;
pub mod scope;
pub mod sizing;
pub mod ticket;

pub use evidence::{Evidence, EvidenceKind};
pub use id::{
    AlertId, DeliveryId, EndpointId, EvidenceId, IncidentId, InvestigationId, MessageId, PoolId,
    SandboxId, TenantId,
};
pub use investigation::Investigation;
pub use report::Report;
pub use sandbox::Sandbox;
pub use scope::Scope;

use serde::{Deserialize, Serialize};

/// Counts the writes of an entity. The store writes only over the version it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub i64);

/// Counts the starts of a sandbox. Grows by one at every start and never resets, so whoever holds
/// an older one is a zombie and is refused.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Epoch(pub i64);

impl Epoch {
    /// The epoch of a sandbox that was never started for anyone.
    pub const ZERO: Self = Self(0);

    /// The epoch of the next start.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
