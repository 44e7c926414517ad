//! The steps that must hold before a token may enter this process.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior,
    setrlimit,
};

/// A step of hardening. Its spelling is what `NIGHTSHIFT_ACCEPT_RISK` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// No other process may read this one's memory or environment, or trace it.
    NonDumpable,
    /// A crash writes no memory to disk.
    NoCoreDumps,
}

impl Step {
    /// Every step, in the order they are taken.
    pub const ALL: [Self; 2] = [Self::NonDumpable, Self::NoCoreDumps];

    /// How the environment spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NonDumpable => "non-dumpable",
            Self::NoCoreDumps => "no-core-dumps",
        }
    }

    /// Reads a spelling; unknown ones are `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }
}

/// A required step does not hold and nobody accepted that.
#[derive(Debug, thiserror::Error)]
#[error(
    "hardening step `{}` does not hold here; a token in this process could be read by others. Set \
     NIGHTSHIFT_ACCEPT_RISK={} only where that is acceptable",
    .0.as_str(),
    .0.as_str()
)]
pub struct NotHardened(pub Step);

/// Takes every step it can. What did not work shows in [`verify`], which asks the kernel instead of
/// trusting what was requested.
pub fn harden() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
}

/// Asks the kernel whether every step holds, leaving out the accepted ones.
///
/// # Errors
/// The first step that does not hold and is not accepted.
pub fn verify(accepted: &[Step]) -> Result<(), NotHardened> {
    Step::ALL
        .into_iter()
        .filter(|step| !accepted.contains(step))
        .find(|step| !holds(*step))
        .map_or(Ok(()), |step| Err(NotHardened(step)))
}

fn holds(step: Step) -> bool {
    match step {
        Step::NonDumpable => dumpable_behavior() == Ok(DumpableBehavior::NotDumpable),
        Step::NoCoreDumps => getrlimit(Resource::Core).current == Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_does_not_hold_is_refused_unless_it_is_accepted() {
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
        assert!(matches!(verify(&[]), Err(NotHardened(Step::NonDumpable))));
        assert!(!matches!(
            verify(&[Step::NonDumpable]),
            Err(NotHardened(Step::NonDumpable))
        ));
        harden();
        verify(&[]).unwrap();
    }
}
