//! The named steps between the agent and everything else, and sets of them.

use std::fmt;

/// One step of hardening. Its spelling is what `NIGHTSHIFT_ACCEPTED_RISKS` lists and what the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// No other process may read the supervisor's memory or environment, or trace it.
    NonDumpable,
    /// A crash writes no memory to disk.
    NoCoreDumps,
    /// The supervisor's memory is never written to swap.
    NoSwap,
    /// Harness and agent have users of their own.
    Users,
    /// Harness and agent inherit no environment and no open descriptor.
    CleanStart,
    /// Harness and agent have no capability in any set.
    NoCapabilities,
    /// Harness and agent cannot gain privileges by running a program.
    NoNewPrivileges,
    /// Only harmless system calls, and sockets of this machine only.
    Seccomp,
    /// Files, signals and abstract sockets only where they are needed.
    Landlock,
    /// Bounds on every single process of harness and agent.
    ResourceLimits,
    /// The agent's memory, processes and processor time together are bounded by the kernel.
    Cgroups,
    /// What a command takes of the disk, and of the memory where there are no cgroups, is watched; one
    /// that takes too much is ended.
    UsageWatch,
    /// Commands, runs and the machine's start end in time.
    WallClock,
    /// A command that floods its output is ended, and only the start of it is kept.
    OutputCap,
}

impl Step {
    /// Every step, in the order in which they are told.
    pub const ALL: [Self; 14] = [
        Self::NonDumpable,
        Self::NoCoreDumps,
        Self::NoSwap,
        Self::Users,
        Self::CleanStart,
        Self::NoCapabilities,
        Self::NoNewPrivileges,
        Self::Seccomp,
        Self::Landlock,
        Self::ResourceLimits,
        Self::Cgroups,
        Self::UsageWatch,
        Self::WallClock,
        Self::OutputCap,
    ];

    /// How the environment and the log spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NonDumpable => "non-dumpable",
            Self::NoCoreDumps => "no-core-dumps",
            Self::NoSwap => "no-swap",
            Self::Users => "users",
            Self::CleanStart => "clean-start",
            Self::NoCapabilities => "no-capabilities",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
            Self::ResourceLimits => "resource-limits",
            Self::Cgroups => "cgroups",
            Self::UsageWatch => "usage-watch",
            Self::WallClock => "wall-clock",
            Self::OutputCap => "output-cap",
        }
    }
}

/// Some of the steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps(Vec<Step>);

impl Steps {
    /// None of them.
    pub const NONE: Self = Self(Vec::new());

    /// Reads names separated by commas.
    ///
    /// # Errors
    /// The names that belong to no step.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut steps = Self::NONE;
        let mut unknown = Vec::new();
        let names = text.split(',').map(str::trim);
        for name in names.filter(|name| !name.is_empty()) {
            match Step::ALL.into_iter().find(|step| step.as_str() == name) {
                Some(step) => steps.add(step),
                None => unknown.push(name.to_owned()),
            }
        }
        if unknown.is_empty() {
            Ok(steps)
        } else {
            Err(unknown)
        }
    }

    /// Whether a step is among them.
    #[must_use]
    pub fn has(&self, step: Step) -> bool {
        self.0.contains(&step)
    }

    /// Puts a step among them.
    pub fn add(&mut self, step: Step) {
        if !self.has(step) {
            self.0.push(step);
        }
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", step.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_read_back_as_they_are_written_and_strangers_are_named() {
        let all: Vec<_> = Step::ALL.iter().map(|step| step.as_str()).collect();
        let read = Steps::parse(&all.join(" , ")).unwrap();
        assert_eq!(read.to_string(), all.join(","));
        assert_eq!(Steps::parse("").unwrap(), Steps::NONE);
        assert_eq!(
            Steps::parse("seccomp,all,none").unwrap_err(),
            ["all", "none"]
        );
    }
}
