//! Every step with its outcome, decided before anybody is asked for a token.

use std::path::Path;

use crate::{
    cgroups::Cgroups,
    config::{Config, Uids},
    confine, harden,
    limits::Limits,
    logging::causes,
    steps::{Step, Steps},
};

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It holds; how, in words.
    Held(String),
    /// It cannot be had; why, in words.
    Missing(String),
    /// Left out on purpose: only in programs made for attacking this one.
    LeftOut,
}

/// What was had.
#[derive(Debug)]
pub struct Hardening {
    outcomes: Vec<(Step, Outcome)>,
    left_out: Steps,
    accepted: Steps,
    cgroups: Option<Cgroups>,
    limits: Limits,
}

/// Steps that cannot be had here and that nobody accepted to be without.
#[derive(Debug, thiserror::Error)]
#[error(
    "refused to run: {told}. Name {missing} in NIGHTSHIFT_ACCEPTED_RISKS only where that is acceptable"
)]
pub struct NotHardened {
    /// The steps.
    pub missing: Steps,
    told: String,
}

impl Hardening {
    /// Takes every step, or finds out that it can be taken when a program is started.
    ///
    /// # Errors
    /// [`NotHardened`], naming every step that is missing.
    pub fn take(config: &Config) -> Result<Self, NotHardened> {
        let out = |step| config.leave_out.has(step);
        let probed = confine::probe(Path::new("/"), &out);
        let mut cgroups = None;
        let mut outcomes = Vec::new();
        for step in Step::ALL {
            let outcome = if out(step) {
                Outcome::LeftOut
            } else {
                let had = match step {
                    Step::NonDumpable => harden::non_dumpable(),
                    Step::NoCoreDumps => harden::no_core_dumps(),
                    Step::NoSwap => harden::no_swap(),
                    Step::Users => match config.uids {
                        Uids::Range => Ok("1001 and 1002".to_owned()),
                        Uids::Single => Err("one user for all".to_owned()),
                    },
                    Step::NoNewPrivileges | Step::Seccomp | Step::Landlock => {
                        let found = probed.iter().find(|(of, _)| *of == step);
                        found.map_or_else(|| Err("not tried".to_owned()), |(_, had)| had.clone())
                    }
                    Step::Cgroups => match Cgroups::make(&config.limits) {
                        Ok(made) => Ok(cgroups.insert(made).version().to_owned()),
                        Err(error) => Err(causes(&error)),
                    },
                    // Taken by this program alone, and checked by each program it starts.
                    Step::CleanStart
                    | Step::NoCapabilities
                    | Step::ResourceLimits
                    | Step::UsageWatch
                    | Step::WallClock
                    | Step::OutputCap => Ok("at every start".to_owned()),
                };
                had.map_or_else(Outcome::Missing, Outcome::Held)
            };
            outcomes.push((step, outcome));
        }
        let hardening = Self {
            outcomes,
            left_out: config.leave_out.clone(),
            accepted: config.accepted.clone(),
            cgroups,
            limits: config.limits,
        };
        hardening.judge()
    }

    fn judge(self) -> Result<Self, NotHardened> {
        let mut missing = Steps::NONE;
        let mut told = Vec::new();
        for (step, outcome) in &self.outcomes {
            if let Outcome::Missing(why) = outcome
                && !self.accepted.has(*step)
            {
                missing.add(*step);
                told.push(format!("`{}` cannot be had ({why})", step.as_str()));
            }
        }
        if missing == Steps::NONE {
            return Ok(self);
        }
        Err(NotHardened {
            missing,
            told: told.join(", "),
        })
    }

    /// Steps that programs are started without: none but those that cannot be had and were accepted.
    #[must_use]
    pub fn without(&self) -> Steps {
        let mut without = self.left_out.clone();
        for (step, outcome) in &self.outcomes {
            if matches!(outcome, Outcome::Missing(_)) {
                without.add(*step);
            }
        }
        without
    }

    /// Whether a step holds.
    #[must_use]
    pub fn has(&self, step: Step) -> bool {
        let of = self.outcomes.iter().find(|(of, _)| *of == step);
        of.is_some_and(|(_, outcome)| matches!(outcome, Outcome::Held(_)))
    }

    /// The agent's control groups, where they can be had.
    #[must_use]
    pub const fn cgroups(&self) -> Option<&Cgroups> {
        self.cgroups.as_ref()
    }

    /// How much the agent may take.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Every step and its outcome on one line.
    #[must_use]
    pub fn told(&self) -> String {
        let tell = |(step, outcome): &(Step, Outcome)| {
            let name = step.as_str();
            match outcome {
                Outcome::Held(how) => format!("{name}: held ({how})"),
                Outcome::Missing(why) => {
                    let instead = self.instead(*step);
                    format!("{name}: MISSING, accepted ({why}{instead})")
                }
                Outcome::LeftOut => format!("{name}: LEFT OUT"),
            }
        };
        self.outcomes
            .iter()
            .map(tell)
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn instead(&self, step: Step) -> String {
        if step != Step::Cgroups {
            return String::new();
        }
        let mib = |bytes| bytes / (1024 * 1024);
        format!(
            "; instead {} MiB of addresses and {} processes by resource limits, {} MiB of memory by watching, and \
             nothing bounds processor time",
            mib(self.limits.address_bytes(false)),
            self.limits.processes,
            mib(self.limits.memory_bytes),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(missing: &[Step], accepted: &str) -> Result<Hardening, NotHardened> {
        let outcome = |step: Step| {
            let outcome = if missing.contains(&step) {
                Outcome::Missing("no".to_owned())
            } else {
                Outcome::Held("yes".to_owned())
            };
            (step, outcome)
        };
        let hardening = Hardening {
            outcomes: Step::ALL.into_iter().map(outcome).collect(),
            left_out: Steps::NONE,
            accepted: Steps::parse(accepted).unwrap(),
            cgroups: None,
            limits: Limits::of_machine(512),
        };
        hardening.judge()
    }

    #[test]
    fn every_missing_step_is_named_unless_it_was_accepted() {
        let missing = [Step::Seccomp, Step::Landlock];
        let refused = with(&missing, "cgroups").unwrap_err().to_string();
        assert!(refused.contains("Name seccomp,landlock in"), "{refused}");
        assert_eq!(
            with(&missing, "landlock").unwrap_err().missing.to_string(),
            "seccomp"
        );
        let had = with(&missing, "landlock,seccomp,cgroups").unwrap();
        assert_eq!(had.without().to_string(), "seccomp,landlock");
        assert!(had.told().contains("landlock: MISSING, accepted (no)"));
        assert!(had.has(Step::Cgroups), "accepted, but it can be had");
    }
}
