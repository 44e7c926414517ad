//! Where a machine is in its life, as far as it is modelled here.

use std::fmt;

use nightshift_machines::MachineState;
use serde::{Deserialize, Serialize};

/// Where a machine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Being prepared.
    Created,
    /// Booting.
    Starting,
    /// Running.
    Started,
    /// Asked to stop.
    Stopping,
    /// At rest.
    Stopped,
    /// Being frozen.
    Suspending,
    /// Frozen.
    Suspended,
    /// Could not be booted.
    Failed,
    /// Being removed.
    Destroying,
    /// Removed; shown for a while.
    Destroyed,
}

impl State {
    /// Whether something of it runs, or is about to.
    pub(crate) const fn is_active(self) -> bool {
        match self {
            Self::Starting | Self::Started | Self::Stopping | Self::Suspending => true,
            Self::Created
            | Self::Stopped
            | Self::Suspended
            | Self::Failed
            | Self::Destroying
            | Self::Destroyed => false,
        }
    }

    /// Whether it lasts.
    pub(crate) const fn is_settled(self) -> bool {
        match self {
            Self::Started | Self::Stopped | Self::Suspended | Self::Failed | Self::Destroyed => {
                true
            }
            Self::Created
            | Self::Starting
            | Self::Stopping
            | Self::Suspending
            | Self::Destroying => false,
        }
    }

    /// How the API spells it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Suspending => "suspending",
            Self::Suspended => "suspended",
            Self::Failed => "failed",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl From<State> for MachineState {
    fn from(state: State) -> Self {
        match state {
            State::Created => Self::Created,
            State::Starting => Self::Starting,
            State::Started => Self::Started,
            State::Stopping => Self::Stopping,
            State::Stopped => Self::Stopped,
            State::Suspending => Self::Suspending,
            State::Suspended => Self::Suspended,
            State::Failed => Self::Failed,
            State::Destroying => Self::Destroying,
            State::Destroyed => Self::Destroyed,
        }
    }
}
