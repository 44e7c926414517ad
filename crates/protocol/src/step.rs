//! Steps: the queued units of work. A step carries ids and an epoch, never state.

use nightshift_domain::{Epoch, InvestigationId, PoolId, SandboxId};
use serde::{Deserialize, Serialize};

/// The version that we write. A handler accepts this one and the one before.
pub const VERSION: u16 = 1;

/// A step as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The version of the message's form.
    pub v: u16,
    /// What to do.
    pub step: Step,
}

/// One queued unit of work. Every handler compares (state, epoch); a repeat is a no-op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Step {
    /// Pair waiting tickets with ready sandboxes.
    ClaimWake {
        /// In this pool.
        pool: PoolId,
    },
    /// Start a claimed sandbox for its investigation.
    Dispatch {
        /// For whom.
        investigation: InvestigationId,
        /// Which sandbox.
        sandbox: SandboxId,
        /// The start that was granted.
        epoch: Epoch,
    },
    /// Stop the machine of a resting investigation.
    Rest {
        /// Whose machine.
        investigation: InvestigationId,
        /// The start that reported.
        epoch: Epoch,
    },
    /// Bring the pool to its target.
    Refill {
        /// Which pool.
        pool: PoolId,
    },
    /// Make a planned sandbox ready.
    Provision {
        /// Which sandbox.
        sandbox: SandboxId,
    },
    /// Destroy a sandbox.
    Retire {
        /// Which sandbox.
        sandbox: SandboxId,
    },
}

impl Step {
    /// The step's name in the outbox, in logs and as a queue's name.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ClaimWake { .. } => "claim_wake",
            Self::Dispatch { .. } => "dispatch",
            Self::Rest { .. } => "rest",
            Self::Refill { .. } => "refill",
            Self::Provision { .. } => "provision",
            Self::Retire { .. } => "retire",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_of_a_step_is_stable() {
        let pool: PoolId = "pool_0192f0c1000070008000000000000001".parse().unwrap();
        let text = serde_json::to_string(&Envelope {
            v: 1,
            step: Step::Refill { pool },
        })
        .unwrap();
        assert_eq!(
            text,
            r#"{"v":1,"step":{"kind":"refill","pool":"pool_0192f0c1000070008000000000000001"}}"#
        );
    }
}
