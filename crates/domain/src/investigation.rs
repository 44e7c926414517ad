//! An investigation and the only moves it can make.
//!
//! ```text
//!            ┌────────────── requeue (the sandbox is lost) ──────────────┐
//!            ▼                                                           │
//! Queued ──claim──▶ Claimed ──start──▶ Starting ──attest──▶ Working ──rest──▶ Resting
//!                   ▲   ▲                  │                   │  ▲            │  │
//!                   │   └──── restart ─────┴─── (epoch + 1) ───┘  └─ heartbeat │  │
//!                   └───────────────────── resume (epoch + 1) ─────────────────┘  │
//!                                                         Concluded ◀──conclude───┘
//! any of these but Concluded ──cancel──▶ Cancelled      any of these ──fail──▶ Failed
//! ```
//!
//! Every state that is not an end has a deadline; the sweep turns an overdue one into a step.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{AlertId, Epoch, IncidentId, InvestigationId, SandboxId, TenantId, Version};

/// How long a queued investigation waits before the sweep wakes the coordinator again.
pub const QUEUE_PATIENCE: TimeDelta = TimeDelta::minutes(2);
/// How long a granted sandbox may take until its start was called.
pub const CLAIM_PATIENCE: TimeDelta = TimeDelta::seconds(30);
/// How long a started sandbox may take until it has attested.
pub const START_PATIENCE: TimeDelta = TimeDelta::seconds(30);
/// How long an agent may be silent; it sends a heartbeat every third of this.
pub const HEARTBEAT_PATIENCE: TimeDelta = TimeDelta::seconds(45);
/// How often a sandbox may be started again after it went silent, before we give up.
pub const MAX_RESTARTS: i32 = 5;
/// How long an investigation may take from its first grant, restarts included.
pub const RUN_LIMIT: TimeDelta = TimeDelta::minutes(30);

/// One investigation of one alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Investigation {
    /// Its identity.
    pub id: InvestigationId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is about.
    pub incident: IncidentId,
    /// The alert that opened it.
    pub alert: AlertId,
    /// When the alert was accepted.
    pub created_at: DateTime<Utc>,
    /// Where it is in its life.
    pub state: State,
    /// How often its sandbox was started again after going silent.
    pub restarts: i32,
    /// Which write of it this is.
    pub version: Version,
}

/// Where an investigation is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Waiting for a sandbox.
    Queued {
        /// When the sweep looks at it.
        deadline_at: DateTime<Utc>,
    },
    /// Holds a sandbox that is not started yet.
    Claimed(Run),
    /// The provider was told to start the sandbox.
    Starting(Run),
    /// The agent proved who it is and holds its tokens.
    Working(Run),
    /// Reported; the machine is stopped and the session is on its volume.
    Resting(Run),
    /// Finished; the report is written and the sandbox is let go.
    Concluded {
        /// Since when.
        at: DateTime<Utc>,
    },
    /// Nobody wants it any more.
    Cancelled {
        /// Since when.
        at: DateTime<Utc>,
        /// Why.
        reason: String,
    },
    /// We could not finish it.
    Failed {
        /// Since when.
        at: DateTime<Utc>,
        /// Why, for the person who was paged.
        reason: String,
    },
}

/// A sandbox held at an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The start of it that may speak for the investigation.
    pub epoch: Epoch,
    /// When the sweep looks at it.
    pub deadline_at: DateTime<Utc>,
}

/// A decision not yet stored: what the investigation becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a transition happens only once the store applies it"]
pub struct Transition {
    /// The investigation after the move, still carrying the version it was read at.
    pub next: Investigation,
    /// The move's name in the past tense, for the event log.
    pub event: &'static str,
}

/// The move does not exist from this state, or the mover is a zombie.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} an investigation that is {state:?}")]
pub struct InvalidTransition {
    action: &'static str,
    state: State,
}

impl State {
    /// How the store and the API spell it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Claimed(_) => "claimed",
            Self::Starting(_) => "starting",
            Self::Working(_) => "working",
            Self::Resting(_) => "resting",
            Self::Concluded { .. } => "concluded",
            Self::Cancelled { .. } => "cancelled",
            Self::Failed { .. } => "failed",
        }
    }

    /// The sandbox it holds, if any.
    #[must_use]
    pub const fn run(&self) -> Option<Run> {
        match self {
            Self::Claimed(run) | Self::Starting(run) | Self::Working(run) | Self::Resting(run) => {
                Some(*run)
            }
            Self::Queued { .. }
            | Self::Concluded { .. }
            | Self::Cancelled { .. }
            | Self::Failed { .. } => None,
        }
    }

    /// When the sweep looks at it; `None` for the ends.
    #[must_use]
    pub const fn deadline_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Queued { deadline_at } => Some(*deadline_at),
            Self::Claimed(run) | Self::Starting(run) | Self::Working(run) | Self::Resting(run) => {
                Some(run.deadline_at)
            }
            Self::Concluded { .. } | Self::Cancelled { .. } | Self::Failed { .. } => None,
        }
    }
}

impl Investigation {
    /// A new investigation, waiting for its first sandbox.
    #[must_use]
    pub fn open(
        id: InvestigationId,
        tenant: TenantId,
        incident: IncidentId,
        alert: AlertId,
        now: DateTime<Utc>,
    ) -> Self {
        let state = State::Queued {
            deadline_at: now + QUEUE_PATIENCE,
        };
        let (created_at, restarts, version) = (now, 0, Version(0));
        Self {
            id,
            tenant,
            incident,
            alert,
            created_at,
            state,
            restarts,
            version,
        }
    }

    /// Takes `sandbox`, whose next start is `epoch`.
    pub fn claim(
        self,
        sandbox: SandboxId,
        epoch: Epoch,
        now: DateTime<Utc>,
    ) -> Result<Transition, InvalidTransition> {
        let State::Queued { .. } = self.state else {
            return self.refuse("claim");
        };
        let run = Run {
            sandbox,
            epoch,
            deadline_at: now + CLAIM_PATIENCE,
        };
        Ok(self.becomes(State::Claimed(run), "claimed"))
    }

    /// Notes that the provider accepted the start of `epoch`.
    pub fn start(self, epoch: Epoch, now: DateTime<Utc>) -> Result<Transition, InvalidTransition> {
        let State::Claimed(run) = self.state else {
            return self.refuse("start");
        };
        if run.epoch != epoch {
            return self.refuse("start another epoch of");
        }
        let run = Run {
            deadline_at: now + START_PATIENCE,
            ..run
        };
        Ok(self.becomes(State::Starting(run), "started"))
    }

    /// Lets the agent of `epoch` work. The sandbox may be quicker than our own note of its start.
    pub fn attest(self, epoch: Epoch, now: DateTime<Utc>) -> Result<Transition, InvalidTransition> {
        let (State::Claimed(run) | State::Starting(run)) = self.state else {
            return self.refuse("attest");
        };
        if run.epoch != epoch {
            return self.refuse("attest another epoch of");
        }
        let run = Run {
            deadline_at: now + HEARTBEAT_PATIENCE,
            ..run
        };
        Ok(self.becomes(State::Working(run), "attested"))
    }

    /// Notes a sign of life of `epoch`.
    pub fn heartbeat(
        self,
        epoch: Epoch,
        now: DateTime<Utc>,
    ) -> Result<Transition, InvalidTransition> {
        let Some(run) = self.working_at(epoch) else {
            return self.refuse("extend");
        };
        let run = Run {
            deadline_at: now + HEARTBEAT_PATIENCE,
            ..run
        };
        Ok(self.becomes(State::Working(run), "heartbeat"))
    }

    /// Ends the work of `epoch`; the sandbox is kept for follow-ups until `rest_until`.
    pub fn rest(
        self,
        epoch: Epoch,
        rest_until: DateTime<Utc>,
    ) -> Result<Transition, InvalidTransition> {
        let Some(run) = self.working_at(epoch) else {
            return self.refuse("rest");
        };
        let run = Run {
            deadline_at: rest_until,
            ..run
        };
        Ok(self.becomes(State::Resting(run), "reported"))
    }

    /// Wakes a resting investigation for a follow-up: the same sandbox, a new epoch.
    pub fn resume(self, now: DateTime<Utc>) -> Result<Transition, InvalidTransition> {
        let State::Resting(run) = self.state else {
            return self.refuse("resume");
        };
        let run = Run {
            epoch: run.epoch.next(),
            deadline_at: now + CLAIM_PATIENCE,
            ..run
        };
        Ok(Self {
            restarts: 0,
            ..self
        }
        .becomes(State::Claimed(run), "resumed"))
    }

    /// Starts a silent sandbox again under a new epoch; the old one is a zombie from here on.
    pub fn restart(self, now: DateTime<Utc>) -> Result<Transition, InvalidTransition> {
        let Some(run) = self.unreported().filter(|_| self.restarts < MAX_RESTARTS) else {
            return self.refuse("restart");
        };
        let run = Run {
            epoch: run.epoch.next(),
            deadline_at: now + CLAIM_PATIENCE,
            ..run
        };
        let restarts = self.restarts + 1;
        Ok(Self { restarts, ..self }.becomes(State::Claimed(run), "restarted"))
    }

    /// Goes back to the queue because the sandbox is lost. The ticket keeps its place.
    pub fn requeue(self, now: DateTime<Utc>) -> Result<Transition, InvalidTransition> {
        if self.unreported().is_none() || self.restarts >= MAX_RESTARTS {
            return self.refuse("requeue");
        }
        let restarts = self.restarts + 1;
        let state = State::Queued {
            deadline_at: now + QUEUE_PATIENCE,
        };
        Ok(Self { restarts, ..self }.becomes(state, "requeued"))
    }

    /// Moves the deadline of a queued investigation, which the sweep has just looked at.
    pub fn keep_waiting(self, now: DateTime<Utc>) -> Result<Transition, InvalidTransition> {
        let State::Queued { .. } = self.state else {
            return self.refuse("keep waiting with");
        };
        let state = State::Queued {
            deadline_at: now + QUEUE_PATIENCE,
        };
        Ok(self.becomes(state, "waited"))
    }

    /// Ends a reported investigation.
    pub fn conclude(self, now: DateTime<Utc>) -> Result<Transition, InvalidTransition> {
        let State::Resting(_) = self.state else {
            return self.refuse("conclude");
        };
        Ok(self.becomes(State::Concluded { at: now }, "concluded"))
    }

    /// Ends it because nobody wants it any more.
    pub fn cancel(
        self,
        reason: impl Into<String>,
        now: DateTime<Utc>,
    ) -> Result<Transition, InvalidTransition> {
        if self.state.deadline_at().is_none() {
            return self.refuse("cancel");
        }
        let state = State::Cancelled {
            at: now,
            reason: reason.into(),
        };
        Ok(self.becomes(state, "cancelled"))
    }

    /// Ends it with a reason that the person who was paged can act on.
    pub fn fail(
        self,
        reason: impl Into<String>,
        now: DateTime<Utc>,
    ) -> Result<Transition, InvalidTransition> {
        if self.state.deadline_at().is_none() {
            return self.refuse("fail");
        }
        let state = State::Failed {
            at: now,
            reason: reason.into(),
        };
        Ok(self.becomes(state, "failed"))
    }

    /// The run, if it works at exactly this epoch.
    fn working_at(&self, epoch: Epoch) -> Option<Run> {
        let State::Working(run) = self.state else {
            return None;
        };
        (run.epoch == epoch).then_some(run)
    }

    /// The run, if it holds a sandbox and has not reported yet.
    const fn unreported(&self) -> Option<Run> {
        match self.state {
            State::Claimed(run) | State::Starting(run) | State::Working(run) => Some(run),
            State::Queued { .. }
            | State::Resting(_)
            | State::Concluded { .. }
            | State::Cancelled { .. }
            | State::Failed { .. } => None,
        }
    }

    fn becomes(self, state: State, event: &'static str) -> Transition {
        Transition {
            next: Self { state, ..self },
            event,
        }
    }

    fn refuse(self, action: &'static str) -> Result<Transition, InvalidTransition> {
        Err(InvalidTransition {
            action,
            state: self.state,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn working() -> Investigation {
        let now = DateTime::UNIX_EPOCH;
        let queued = Investigation::open(
            InvestigationId::generate(),
            TenantId::generate(),
            IncidentId::generate(),
            AlertId::generate(),
            now,
        );
        let claimed = queued
            .claim(SandboxId::generate(), Epoch(1), now)
            .unwrap()
            .next;
        claimed.attest(Epoch(1), now).unwrap().next
    }

    #[test]
    fn an_agent_of_an_older_epoch_can_neither_attest_nor_live_nor_report() {
        let now = DateTime::UNIX_EPOCH;
        let restarted = working().restart(now).unwrap().next;
        assert!(restarted.clone().attest(Epoch(1), now).is_err());

        let second = restarted.attest(Epoch(2), now).unwrap().next;
        assert!(second.clone().heartbeat(Epoch(1), now).is_err());
        assert!(second.clone().rest(Epoch(1), now).is_err());
        assert!(second.rest(Epoch(2), now).is_ok());
    }

    #[test]
    fn a_silent_sandbox_is_not_restarted_for_ever() {
        let now = DateTime::UNIX_EPOCH;
        let mut silent = working();
        for _ in 0..MAX_RESTARTS {
            silent = silent.restart(now).unwrap().next;
        }
        assert!(silent.clone().restart(now).is_err());
        assert!(silent.clone().requeue(now).is_err());
        assert!(silent.fail("it never answered", now).is_ok());
    }

    #[test]
    fn an_end_is_an_end() {
        let now = DateTime::UNIX_EPOCH;
        let concluded = working()
            .rest(Epoch(1), now)
            .unwrap()
            .next
            .conclude(now)
            .unwrap()
            .next;
        assert!(concluded.clone().resume(now).is_err());
        assert!(concluded.clone().fail("late", now).is_err());
        assert!(concluded.cancel("late", now).is_err());
    }
}
