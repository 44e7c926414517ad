//! What only reads for people: the rows behind the operators' API.
//!
//! Every listing goes from new to old and takes its filters explicitly: without a tenant it shows
//! every tenant, so whoever calls one decides.

mod alerts;
mod dead_letters;
mod deliveries;
mod incidents;
mod investigations;
mod pools;
mod sandboxes;

pub use alerts::AlertRow;
pub use dead_letters::DeadLetterRow;
pub use deliveries::DeliveryRow;
pub use incidents::IncidentRow;
pub use investigations::{InvestigationRow, Stage};
pub use pools::{BreakerRow, PoolRow, PoolSupply};
pub use sandboxes::SandboxRow;

/// Which part of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<Key> {
    /// Only what is older than this.
    pub before: Option<Key>,
    /// At most so many.
    pub limit: i64,
}
