//! Why the supervisor ends, and the exit code that says so.

use crate::{hardening::NotHardened, session::SessionError};

/// Why the supervisor could not do its work. Each has its own exit code, from `sysexits.h` where
/// one fits, so that whoever reads the machine's event log can tell them apart.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The environment is not what it must be.
    #[error("configuration: {0}")]
    Configuration(String),
    /// A hardening step does not hold.
    #[error(transparent)]
    NotHardened(#[from] NotHardened),
    /// The sandbox cannot run an agent.
    #[error("self-check `{check}` failed: {detail}")]
    SelfCheck {
        /// Which check.
        check: &'static str,
        /// What happened.
        detail: String,
    },
    /// No brief and tokens, or no fresh tokens.
    #[error("the session endpoint gave nothing")]
    Session(#[from] SessionError),
    /// The harness could not be started or waited for.
    #[error("could not {what}")]
    Process {
        /// What was tried.
        what: &'static str,
        /// Why it did not work.
        source: std::io::Error,
    },
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 78,
            Self::NotHardened(_) => 77,
            Self::SelfCheck { .. } => 70,
            Self::Process { .. } => 71,
            Self::Session(error) => match error {
                SessionError::NotClaimed => 0,
                SessionError::Superseded => 75,
                SessionError::Refused { .. } | SessionError::Answer(_) => 76,
                SessionError::Unreachable { .. } | SessionError::Identity(_) => 69,
            },
        }
    }
}
