//! Reads configuration from the environment, and names everything that is wrong with it at once.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// The variables of one process, and what was found wrong with them so far.
///
/// Ask for every variable first, then settle: whoever deploys wants the whole list, not its head.
pub struct Environment {
    variables: BTreeMap<String, String>,
    faults: Vec<String>,
}

/// The environment does not describe a process that could run. Never shows a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment is not complete: {}", faults.join("; "))]
pub struct BadEnvironment {
    /// What is wrong, one entry a variable, each beginning with its name.
    pub faults: Vec<String>,
}

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        // `vars` panics on text that is not UTF-8; a variable we never ask for must not stop us.
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            variables,
            faults: vec![],
        }
    }

    /// The given variables.
    #[must_use]
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let variables = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        Self {
            variables,
            faults: vec![],
        }
    }

    /// A variable that may be absent; an empty one counts as absent.
    pub fn optional<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = self
            .variables
            .get(name)
            .filter(|text| !text.trim().is_empty())?;
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.faults.push(format!("{name} cannot be used: {error}"));
                None
            }
        }
    }

    /// A variable that must be there.
    pub fn required<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let before = self.faults.len();
        let value = self.optional(name);
        if value.is_none() && self.faults.len() == before {
            self.faults.push(format!("{name} is not set"));
        }
        value
    }

    /// Notes that a variable's value is of no use.
    pub fn reject(&mut self, name: &str, why: impl fmt::Display) {
        self.faults.push(format!("{name} cannot be used: {why}"));
    }

    /// Everything that is wrong.
    #[must_use]
    pub fn faults(self) -> BadEnvironment {
        BadEnvironment {
            faults: self.faults,
        }
    }

    /// Ends the questions: fails where anything was wrong.
    pub fn settle(self) -> Result<(), BadEnvironment> {
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(self.faults())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once_and_no_value_is_shown() {
        let mut env = Environment::of([("PORT", "hunter2"), ("EMPTY", " "), ("GOOD", "7")]);

        let port: Option<u16> = env.required("PORT");
        let empty: Option<String> = env.required("EMPTY");
        let absent: Option<String> = env.optional("ABSENT");
        let good: Option<u16> = env.required("GOOD");

        assert_eq!((port, empty, absent, good), (None, None, None, Some(7)));
        let error = env.settle().unwrap_err().to_string();
        assert!(error.contains("PORT cannot be used"), "{error}");
        assert!(error.contains("EMPTY is not set"), "{error}");
        assert!(
            !error.contains("ABSENT") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn a_complete_environment_settles() {
        let mut env = Environment::of([("A", "1")]);
        assert_eq!(env.required("A"), Some(1));
        assert_eq!(env.settle(), Ok(()));
    }
}
