//! A sandbox and the only moves it can make.
//!
//! ```text
//! Planned ──provision──▶ Provisioning ──ready──▶ Ready ──claim──▶ Claimed
//!    │                        │                    │                 │
//!    └────────────────────────┴──────retire────────┴─────────────────┴──▶ Retiring ──gone──▶ Gone
//! ```
//!
//! A sandbox serves one investigation and is then destroyed; no move leads back to `Ready`.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{Epoch, InvestigationId, PoolId, SandboxId, Version};

/// How long provisioning may take until the sandbox is retired.
pub const PROVISION_PATIENCE: TimeDelta = TimeDelta::minutes(10);
/// How long a planned sandbox may wait for its provisioning to begin.
pub const PLAN_PATIENCE: TimeDelta = TimeDelta::minutes(2);
/// How long a ready sandbox is trusted before it is replaced.
pub const READY_PATIENCE: TimeDelta = TimeDelta::hours(24);
/// How long destroying may take before it is tried again.
pub const RETIRE_PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// How long a claimed sandbox may live; its investigation ends long before.
pub const CLAIMED_PATIENCE: TimeDelta = TimeDelta::hours(12);

/// One machine with its volume and network, for one investigation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Its identity.
    pub id: SandboxId,
    /// The pool it was made for.
    pub pool: PoolId,
    /// Where it is in its life.
    pub state: SandboxState,
    /// The last start that was granted. Never resets.
    pub epoch: Epoch,
    /// What the provider calls its parts; each is stored as soon as it is known.
    pub parts: Parts,
    /// When the sweep looks at it; `None` once gone.
    pub deadline_at: Option<DateTime<Utc>>,
    /// Which write of it this is.
    pub version: Version,
}

/// Where a sandbox is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SandboxState {
    /// Wanted; nothing exists yet.
    Planned,
    /// Being made.
    Provisioning,
    /// Made, proved and stopped.
    Ready,
    /// Belongs to an investigation until it is retired.
    Claimed {
        /// Whose it is.
        investigation: InvestigationId,
    },
    /// Being destroyed.
    Retiring {
        /// Why.
        reason: String,
    },
    /// Destroyed.
    Gone {
        /// Why it was retired.
        reason: String,
    },
}

/// What the provider calls a sandbox's parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// The app, which has the same name as its network.
    pub app: Option<String>,
    /// The volume.
    pub volume: Option<String>,
    /// The machine.
    pub machine: Option<String>,
    /// The version of the machine's configuration (the provider's `instance_id`).
    pub machine_version: Option<String>,
}

/// A decision not yet stored: what the sandbox becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a transition happens only once the store applies it"]
pub struct Transition {
    /// The sandbox after the move, still carrying the version it was read at.
    pub next: Sandbox,
}

/// The move does not exist from this state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} a sandbox that is {state:?}")]
pub struct InvalidTransition {
    action: &'static str,
    state: SandboxState,
}

impl SandboxState {
    /// How the store and the API spell it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Provisioning => "provisioning",
            Self::Ready => "ready",
            Self::Claimed { .. } => "claimed",
            Self::Retiring { .. } => "retiring",
            Self::Gone { .. } => "gone",
        }
    }
}

impl Sandbox {
    /// A sandbox that is wanted.
    #[must_use]
    pub fn plan(id: SandboxId, pool: PoolId, now: DateTime<Utc>) -> Self {
        Self {
            id,
            pool,
            state: SandboxState::Planned,
            epoch: Epoch::ZERO,
            parts: Parts::default(),
            deadline_at: Some(now + PLAN_PATIENCE),
            version: Version(0),
        }
    }

    /// Begins making it, or goes on with it after an interruption.
    pub fn provision(self, now: DateTime<Utc>) -> Result<Transition, InvalidTransition> {
        let SandboxState::Planned = self.state else {
            return self.refuse("provision");
        };
        Ok(self.becomes(SandboxState::Provisioning, Some(now + PROVISION_PATIENCE)))
    }

    /// Puts off beginning to make it until `until`.
    pub fn postpone(self, until: DateTime<Utc>) -> Result<Transition, InvalidTransition> {
        let SandboxState::Planned = self.state else {
            return self.refuse("put off making");
        };
        Ok(self.becomes(SandboxState::Planned, Some(until + PLAN_PATIENCE)))
    }

    /// When its making began, while it is being made: its deadline was set then.
    #[must_use]
    pub fn begun_at(&self) -> Option<DateTime<Utc>> {
        match self.state {
            SandboxState::Provisioning => Some(self.deadline_at? - PROVISION_PATIENCE),
            SandboxState::Planned
            | SandboxState::Ready
            | SandboxState::Claimed { .. }
            | SandboxState::Retiring { .. }
            | SandboxState::Gone { .. } => None,
        }
    }

    /// Stores what the provider called a part of it. What is known already stays: whoever knows less was
    /// overtaken, as by another delivery of the same step.
    pub fn learn(self, parts: Parts) -> Result<Transition, InvalidTransition> {
        let SandboxState::Provisioning = self.state else {
            return self.refuse("learn a part of");
        };
        let known = self.parts;
        let parts = Parts {
            app: known.app.or(parts.app),
            volume: known.volume.or(parts.volume),
            machine: known.machine.or(parts.machine),
            machine_version: known.machine_version.or(parts.machine_version),
        };
        Ok(Transition {
            next: Self { parts, ..self },
        })
    }

    /// Offers it to whoever waits.
    pub fn ready(self, now: DateTime<Utc>) -> Result<Transition, InvalidTransition> {
        let SandboxState::Provisioning = self.state else {
            return self.refuse("offer");
        };
        Ok(self.becomes(SandboxState::Ready, Some(now + READY_PATIENCE)))
    }

    /// Gives it to an investigation, for one more start.
    pub fn claim(
        self,
        investigation: InvestigationId,
        now: DateTime<Utc>,
    ) -> Result<Transition, InvalidTransition> {
        let SandboxState::Ready = self.state else {
            return self.refuse("claim");
        };
        let epoch = self.epoch.next();
        let state = SandboxState::Claimed { investigation };
        let claimed = Self { epoch, ..self };
        Ok(claimed.becomes(state, Some(now + CLAIMED_PATIENCE)))
    }

    /// Grants one more start to the investigation that holds it.
    pub fn start_again(self) -> Result<Transition, InvalidTransition> {
        let SandboxState::Claimed { .. } = self.state else {
            return self.refuse("start");
        };
        let epoch = self.epoch.next();
        Ok(Transition {
            next: Self { epoch, ..self },
        })
    }

    /// Begins destroying it. The epoch grows, so nothing it still says is believed.
    pub fn retire(
        self,
        reason: impl Into<String>,
        now: DateTime<Utc>,
    ) -> Result<Transition, InvalidTransition> {
        match self.state {
            SandboxState::Planned
            | SandboxState::Provisioning
            | SandboxState::Ready
            | SandboxState::Claimed { .. } => {
                let epoch = self.epoch.next();
                let state = SandboxState::Retiring {
                    reason: reason.into(),
                };
                Ok(Self { epoch, ..self }.becomes(state, Some(now + RETIRE_PATIENCE)))
            }
            SandboxState::Retiring { .. } | SandboxState::Gone { .. } => self.refuse("retire"),
        }
    }

    /// Moves the deadline of a retirement that is being tried again.
    pub fn retire_again(self, now: DateTime<Utc>) -> Result<Transition, InvalidTransition> {
        let SandboxState::Retiring { .. } = self.state else {
            return self.refuse("go on retiring");
        };
        let state = self.state.clone();
        Ok(self.becomes(state, Some(now + RETIRE_PATIENCE)))
    }

    /// Notes that nothing of it is left.
    pub fn gone(self) -> Result<Transition, InvalidTransition> {
        let SandboxState::Retiring { reason } = self.state.clone() else {
            return self.refuse("forget");
        };
        Ok(self.becomes(SandboxState::Gone { reason }, None))
    }

    fn becomes(self, state: SandboxState, deadline_at: Option<DateTime<Utc>>) -> Transition {
        Transition {
            next: Self {
                state,
                deadline_at,
                ..self
            },
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

    #[test]
    fn a_slow_maker_that_knows_less_does_not_make_a_sandbox_forget_its_machine() {
        let now = DateTime::UNIX_EPOCH;
        let planned = Sandbox::plan(SandboxId::generate(), PoolId::generate(), now);
        let begun = planned.provision(now).unwrap().next;
        let all = Parts {
            app: Some("app".to_owned()),
            volume: Some("vol".to_owned()),
            machine: Some("m".to_owned()),
            machine_version: Some("v".to_owned()),
        };
        let app_only = Parts {
            app: all.app.clone(),
            ..Parts::default()
        };
        let learned = begun.learn(all.clone()).unwrap().next;
        assert_eq!(learned.learn(app_only).unwrap().next.parts, all);
    }

    #[test]
    fn a_used_sandbox_never_becomes_ready_again_and_its_epoch_only_grows() {
        let now = DateTime::UNIX_EPOCH;
        let planned = Sandbox::plan(SandboxId::generate(), PoolId::generate(), now);
        let ready = planned
            .provision(now)
            .unwrap()
            .next
            .ready(now)
            .unwrap()
            .next;
        assert_eq!(ready.epoch, Epoch::ZERO);

        let claimed = ready.claim(InvestigationId::generate(), now).unwrap().next;
        assert_eq!(claimed.epoch, Epoch(1));
        assert!(claimed.clone().ready(now).is_err());
        assert!(
            claimed
                .clone()
                .claim(InvestigationId::generate(), now)
                .is_err()
        );

        let retiring = claimed.retire("done", now).unwrap().next;
        assert_eq!(retiring.epoch, Epoch(2), "what it still says is refused");
        assert!(
            retiring
                .clone()
                .claim(InvestigationId::generate(), now)
                .is_err()
        );
        assert!(retiring.gone().unwrap().next.deadline_at.is_none());
    }
}
