//! Bugs that can be planted, to show that the crash explorer sees them.
//!
//! Without the feature `plants` none can be, and the question is a constant `false`. Each bug stands
//! where it would be made: in the very line that it breaks.

#[cfg(feature = "plants")]
mod statements;

/// The channel of a wake that is in no outbox, for the bug that sends it so.
pub const VOLATILE_WAKE: &str = "volatile_wake";

/// A bug that somebody could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Plant {
    /// Tickets and sandboxes are paired without being locked, and without asking whether they are still
    /// free.
    GrantWithoutRowLock = 1,
    /// A step is deleted from the outbox before it was handed over.
    MarkedBeforeSend,
    /// The wake for a new ticket is sent after the commit and is not in the outbox.
    VolatileWake,
    /// A wake is folded into one that is in the outbox, even if that one is being sent.
    LostCoalescedWake,
    /// A dispatch does not compare its epoch and state with the investigation's.
    StartWithoutEpoch,
    /// A restart begins to count epochs anew.
    EpochReset,
    /// A sandbox that was ready when it was looked at is retired although it was claimed since.
    RetireOfClaimed,
    /// A refill counts only what is ready, not what is coming.
    OverProvisioning,
    /// An app whose creation timed out is taken for never made.
    OrphanAfterTimeout,
    /// A ticket that returns to the queue goes to its end.
    TicketLosesPlace,
    /// A started investigation has no deadline worth the name.
    NoDeadlineWhileStarting,
    /// The queue is told that a step is done although its transaction failed.
    AckBeforeCommit,
    /// A start that has its tokens gets them again.
    AttestTwice,
    /// A message of the previous version is not read.
    PreviousVersionRefused,
    /// The sweep passes over one state.
    SweepIgnoresStarting,
    /// A lost sandbox is not retired when its ticket returns to the queue.
    LostSandboxKept,
    /// A ready sandbox is offered without a wake.
    ReadyWithoutWake,
    /// A tenant at its limit holds up those behind it.
    LimitBlocksOthers,
    /// A retired sandbox is noted as gone before the provider destroyed it.
    GoneBeforeRemoved,
    /// A zombie is not stopped before its sandbox is started again.
    ZombieNotStopped,
    /// The newest ticket is served first.
    NewestFirst,
    /// A rested machine's latecomers are not looked for.
    LatecomersIgnored,
    /// A question is put to an investigation that may report at this moment.
    QuestionWithoutLock,
}

#[cfg(feature = "plants")]
mod active {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Plant;

    static ACTIVE: AtomicU8 = AtomicU8::new(0);

    /// Plants one bug in this process, or none.
    pub fn plant(bug: Option<Plant>) {
        ACTIVE.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
    }

    /// Whether a bug is planted.
    pub fn planted(bug: Plant) -> bool {
        ACTIVE.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(feature = "plants")]
pub use active::{plant, planted};

/// Whether a bug is planted: never, in a normal build.
#[cfg(not(feature = "plants"))]
#[must_use]
#[inline]
pub const fn planted(_: Plant) -> bool {
    false
}
