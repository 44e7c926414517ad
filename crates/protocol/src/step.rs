//! Steps: the queued units of work. A step carries ids and an epoch, never state.

use nightshift_domain::{Epoch, InvestigationId, PoolId, SandboxId};
use serde::{Deserialize, Serialize};

use crate::Trace;

/// The version that we write. A handler accepts this one and the one before.
///
/// Version 1 had no trace.
pub const VERSION: u16 = 2;

/// A step as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The version of the message's form.
    pub v: u16,
    /// What to do.
    pub step: Step,
    /// On whose behalf, for the logs; absent where no one investigation is meant.
    #[serde(
        default,
        deserialize_with = "Trace::lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub trace: Option<Trace>,
}

impl Envelope {
    /// A step in the form of today. One about an investigation has that investigation's trace, any
    /// other that of the work that made it necessary.
    #[must_use]
    pub fn new(step: Step, cause: Option<Trace>) -> Self {
        Self {
            v: VERSION,
            step,
            trace: step.investigation().map(Trace::of).or(cause),
        }
    }
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
    /// Tell whoever sent the alert what was found.
    WriteBack {
        /// By whose report.
        investigation: InvestigationId,
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
            Self::WriteBack { .. } => "write_back",
        }
    }

    /// The one investigation that the step is about.
    #[must_use]
    pub const fn investigation(&self) -> Option<InvestigationId> {
        match self {
            Self::Dispatch { investigation, .. }
            | Self::Rest { investigation, .. }
            | Self::WriteBack { investigation } => Some(*investigation),
            Self::ClaimWake { .. }
            | Self::Refill { .. }
            | Self::Provision { .. }
            | Self::Retire { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "pool_0192f0c1000070008000000000000001";
    const INVESTIGATION: &str = "inv_0192f0c1000070008000000000000002";

    #[test]
    fn the_json_form_of_a_step_is_stable() {
        let step = Step::Refill {
            pool: POOL.parse().unwrap(),
        };
        let text = serde_json::to_string(&Envelope::new(step, None)).unwrap();
        assert_eq!(
            text,
            r#"{"v":2,"step":{"kind":"refill","pool":"pool_0192f0c1000070008000000000000001"}}"#
        );

        let step = Step::Rest {
            investigation: INVESTIGATION.parse().unwrap(),
            epoch: Epoch(3),
        };
        let text = serde_json::to_string(&Envelope::new(step, None)).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"v":2,"step":{"kind":"rest","investigation":"inv_0192f0c1000070008000000000000002","#,
                r#""epoch":3},"trace":"00-0192f0c1000070008000000000000002-8000000000000002-01"}"#
            )
        );
    }

    #[test]
    fn a_step_as_version_1_wrote_it_is_read_without_a_trace() {
        let text = r#"{"v":1,"step":{"kind":"claim_wake","pool":"pool_0192f0c1000070008000000000000001"}}"#;
        let envelope: Envelope = serde_json::from_str(text).unwrap();
        let pool = POOL.parse().unwrap();
        assert_eq!((envelope.v, envelope.trace), (1, None));
        assert_eq!(envelope.step, Step::ClaimWake { pool });
    }

    #[test]
    fn a_broken_trace_does_not_make_a_step_unreadable() {
        for trace in ["null", "7", r#""gibberish""#] {
            let text =
                format!(r#"{{"v":2,"step":{{"kind":"refill","pool":"{POOL}"}},"trace":{trace}}}"#);
            let envelope: Envelope = serde_json::from_str(&text).unwrap();
            assert_eq!(envelope.trace, None, "{trace}");
        }
    }

    #[test]
    fn a_step_without_an_investigation_goes_on_with_the_trace_of_its_cause() {
        let cause = Trace::of(INVESTIGATION.parse().unwrap());
        let step = Step::Refill {
            pool: POOL.parse().unwrap(),
        };
        assert_eq!(Envelope::new(step, Some(cause)).trace, Some(cause));
    }
}
