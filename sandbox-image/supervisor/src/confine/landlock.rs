//! Files: what is listed can be read, less of it written, and the rest does not open, whatever its mode says.

use std::{io, path::PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};

/// What every program needs: the system's own programs, libraries and tables. Missing ones are left out.
const SYSTEM: [&str; 9] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/proc", "/sys",
];
/// Devices that are only names for something harmless. Not `/dev/shm`: what lies there outlives whoever wrote
/// it, in memory that nobody counts.
const DEVICES: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];
/// With less, a file that may not be written could still be emptied.
const AT_LEAST: ABI = ABI::V3;
/// What is taken beyond that where the kernel has it.
const AT_BEST: ABI = ABI::V9;

/// The confinement could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LandlockError {
    /// The kernel has no landlock, or too old a one.
    #[error("the kernel's landlock does not serve")]
    Unsupported(#[source] RulesetError),
    /// It did not take hold whole.
    #[error("landlock did not take hold: {0:?}")]
    Partial(RulesetStatus),
}

impl From<RulesetError> for LandlockError {
    fn from(source: RulesetError) -> Self {
        Self::Unsupported(source)
    }
}

/// What stays open, beside the system's own files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Can be read, run and connected to.
    pub read: Vec<PathBuf>,
    /// Can be changed too.
    pub write: Vec<PathBuf>,
}

/// Rules whose paths are open, so that they can be entered when nothing can be opened any more.
pub struct Prepared {
    ruleset: RulesetCreated,
}

impl Rules {
    /// Opens the paths.
    ///
    /// # Errors
    /// See [`LandlockError`].
    pub fn prepare(&self) -> Result<Prepared, LandlockError> {
        let read = AccessFs::from_read(AT_BEST) | AccessFs::ResolveUnix;
        let devices: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile;
        let write = AccessFs::from_all(AT_BEST)
            & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(AT_LEAST))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(AT_BEST))?
            .handle_access(AccessNet::from_all(AT_BEST))?
            .scope(Scope::from_all(AT_BEST))?
            .create()?
            .add_rules(path_beneath_rules(SYSTEM, read))?
            .add_rules(path_beneath_rules(DEVICES, devices))?
            .add_rules(path_beneath_rules(&self.read, read))?
            .add_rules(path_beneath_rules(&self.write, write))?;
        Ok(Prepared { ruleset })
    }
}

impl Prepared {
    /// Confines the calling thread and all that it becomes or starts, and says by which version.
    ///
    /// # Errors
    /// See [`LandlockError`].
    pub fn enter(self) -> Result<String, LandlockError> {
        let status = self.ruleset.restrict_self()?;
        match (status.ruleset, status.landlock) {
            (
                RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
                LandlockStatus::Available { effective_abi, .. },
            ) => Ok(format!("version {effective_abi}")),
            (other, _) => Err(LandlockError::Partial(other)),
        }
    }
}

/// A thread's error where an [`io::Error`] is wanted.
impl From<LandlockError> for io::Error {
    fn from(error: LandlockError) -> Self {
        Self::other(error)
    }
}
