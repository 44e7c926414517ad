//! What to do about a failed call, in the few kinds that a step handler tells apart.

use crate::MachinesError;

/// What to do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Do the same again after a pause; nothing was changed.
    Retry,
    /// Find out by name or id whether it happened, before doing it again.
    LookUp,
    /// This machine or volume will not serve; make another.
    Replace,
    /// The region or the organisation has no room; stop asking there for a while.
    Pause,
    /// What was asked about no longer exists.
    Gone,
    /// Sending it again changes nothing; somebody has to look.
    GiveUp,
}

impl MachinesError {
    /// What to do about it.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        match self {
            Self::Unavailable(_)
            | Self::RateLimited(_)
            | Self::VolumeClaimed { .. }
            | Self::NotSettled(_)
            | Self::Contended(_)
            | Self::WaitTimedOut { .. } => Decision::Retry,
            Self::Ambiguous(_) | Self::AppNameTaken(_) | Self::NameTaken { .. } => Decision::LookUp,
            Self::HostFull(_)
            | Self::VolumeHostFull(_)
            | Self::VolumeGone(_)
            | Self::WaitRefused(_) => Decision::Replace,
            Self::RegionFull(_) | Self::OverQuota(_) => Decision::Pause,
            Self::NotFound(_) => Decision::Gone,
            Self::NotStopped(_) | Self::Unauthorized(_) | Self::Rejected(_) => Decision::GiveUp,
        }
    }
}
