//! An investigation's place in the claim queue.
//!
//! ```text
//! Waiting ──grant──▶ Granted
//!    ▲  │              │
//!    │  └──cancel──▶ Cancelled
//!    └─────── return (the sandbox died; the place is kept)
//! ```

use serde::{Deserialize, Serialize};

use crate::{InvestigationId, PoolId, TenantId};

/// Where a ticket is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketState {
    /// In the queue.
    Waiting,
    /// Got its sandbox.
    Granted,
    /// Nobody needs a sandbox any more.
    Cancelled,
}

/// An investigation's place in the claim queue. A place is given once and kept: a ticket that
/// returns to the queue stands where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The place; smaller is earlier.
    pub place: i64,
    /// Who waits.
    pub investigation: InvestigationId,
    /// On whose behalf.
    pub tenant: TenantId,
    /// For which pool.
    pub pool: PoolId,
    /// Where it is in its life.
    pub state: TicketState,
}
