//! The bugs that can be planted, by the names of the command line.

use nightshift_store::plant::Plant;

/// A bug that can be planted.
#[derive(Debug, Clone, Copy)]
pub struct Bug {
    /// Its name.
    pub name: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
    /// The bug.
    pub plant: Plant,
}

const fn bug(name: &'static str, plant: Plant, what: &'static str) -> Bug {
    Bug { name, what, plant }
}

/// Every bug that can be planted.
#[must_use]
pub const fn bugs() -> &'static [Bug] {
    BUGS
}

const BUGS: &[Bug] = &[
    bug(
        "grant-without-row-lock",
        Plant::GrantWithoutRowLock,
        "tickets and sandboxes are paired without being locked",
    ),
    bug(
        "marked-before-send",
        Plant::MarkedBeforeSend,
        "a step is deleted from the outbox before it is sent",
    ),
    bug(
        "volatile-wake",
        Plant::VolatileWake,
        "the wake for a new ticket is not in the outbox",
    ),
    bug(
        "lost-coalesced-wake",
        Plant::LostCoalescedWake,
        "a wake is folded into one that is being sent",
    ),
    bug(
        "start-without-epoch",
        Plant::StartWithoutEpoch,
        "a dispatch does not compare its epoch",
    ),
    bug(
        "epoch-reset",
        Plant::EpochReset,
        "a restart counts epochs anew",
    ),
    bug(
        "retire-of-claimed",
        Plant::RetireOfClaimed,
        "a claimed sandbox is retired as if it were ready",
    ),
    bug(
        "over-provisioning",
        Plant::OverProvisioning,
        "a refill does not count what is coming",
    ),
    bug(
        "orphan-after-timeout",
        Plant::OrphanAfterTimeout,
        "an app whose creation timed out is taken for never made",
    ),
    bug(
        "ticket-loses-place",
        Plant::TicketLosesPlace,
        "a ticket that returns goes to the end of the queue",
    ),
    bug(
        "no-deadline-while-starting",
        Plant::NoDeadlineWhileStarting,
        "a started investigation has no deadline worth the name",
    ),
    bug(
        "ack-before-commit",
        Plant::AckBeforeCommit,
        "a queue is told that a step is done although it failed",
    ),
    bug(
        "attest-twice",
        Plant::AttestTwice,
        "a start gets its tokens twice",
    ),
    bug(
        "previous-version-refused",
        Plant::PreviousVersionRefused,
        "a message of the previous version is not read",
    ),
    bug(
        "sweep-ignores-starting",
        Plant::SweepIgnoresStarting,
        "the sweep passes over one state",
    ),
    bug(
        "lost-sandbox-kept",
        Plant::LostSandboxKept,
        "a lost sandbox is not retired",
    ),
    bug(
        "ready-without-wake",
        Plant::ReadyWithoutWake,
        "a ready sandbox is offered without a wake",
    ),
    bug(
        "limit-blocks-others",
        Plant::LimitBlocksOthers,
        "a tenant at its limit holds up those behind it",
    ),
    bug(
        "gone-before-removed",
        Plant::GoneBeforeRemoved,
        "a sandbox counts as gone before it is destroyed",
    ),
    bug(
        "zombie-not-stopped",
        Plant::ZombieNotStopped,
        "a zombie is not stopped before its sandbox starts again",
    ),
    bug(
        "newest-first",
        Plant::NewestFirst,
        "the newest ticket is served first",
    ),
    bug(
        "latecomers-ignored",
        Plant::LatecomersIgnored,
        "a question that came in during the report is not looked for",
    ),
    bug(
        "question-without-lock",
        Plant::QuestionWithoutLock,
        "a question is put to an investigation that reports at this moment",
    ),
];

/// Plants a bug in this process. Fails in a build that knows none.
#[cfg(feature = "plants")]
pub fn plant(bug: Bug) -> anyhow::Result<()> {
    nightshift_store::plant::plant(Some(bug.plant));
    Ok(())
}

/// Plants a bug in this process. Fails in a build that knows none.
#[cfg(not(feature = "plants"))]
pub fn plant(bug: Bug) -> anyhow::Result<()> {
    anyhow::bail!(
        "this build cannot plant {}: build it with the feature `plants`",
        bug.name
    )
}
