//! What a function is, before any of its instances.

use std::{path::PathBuf, time::Duration};

/// The account and the region that a function believes to be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Twelve digits.
    pub account: String,
    /// Such as `eu-west-1`.
    pub region: String,
}

/// A function as it is deployed.
#[derive(Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The executable that a zip calls `bootstrap`.
    pub program: PathBuf,
    /// Arguments; Lambda itself gives none.
    pub arguments: Vec<String>,
    /// What an operator configured. Everything else in its environment is Lambda's.
    pub environment: Vec<(String, String)>,
    /// What differs in the environment of the version before, if that is still in service beside this one:
    /// every second instance is then of it.
    pub before: Option<Vec<(String, String)>>,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// Its memory, in megabytes: told, not enforced.
    pub memory_mb: u32,
    /// Instances at once; whoever calls beyond that is refused.
    pub reserved_concurrency: usize,
}

/// Which version of a function an instance is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// The only one.
    Latest,
    /// The newer one of two.
    New,
    /// The one before.
    Before,
}

impl Version {
    /// As it is told to the function and in its log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Latest => "$LATEST",
            Self::New => "2",
            Self::Before => "1",
        }
    }
}

impl Owner {
    /// The name by which others know the function.
    #[must_use]
    pub fn function_arn(&self, function: &str) -> String {
        format!(
            "arn:aws:lambda:{}:{}:function:{function}",
            self.region, self.account
        )
    }
}

impl Function {
    /// The version of which instance number `number` is.
    pub(super) const fn version_of(&self, number: u64) -> Version {
        match (self.before.is_some(), number % 2) {
            (false, _) => Version::Latest,
            (true, 0) => Version::New,
            (true, _) => Version::Before,
        }
    }

    /// The environment of an instance whose Runtime API is at `runtime_api` (`HOST:PORT`): Lambda's
    /// variables first, so that an operator's cannot hide behind them.
    pub(super) fn variables(
        &self,
        owner: &Owner,
        runtime_api: &str,
        log_stream: &str,
        version: Version,
    ) -> Vec<(String, String)> {
        let task_root = self
            .program
            .parent()
            .map_or_else(String::new, |folder| folder.display().to_string());
        let memory = self.memory_mb.to_string();
        let group = format!("/aws/lambda/{}", self.name);
        let before = self.before.as_ref().filter(|_| version == Version::Before);
        let ours = [
            ("AWS_LAMBDA_RUNTIME_API", runtime_api),
            ("_HANDLER", "bootstrap"),
            ("AWS_LAMBDA_FUNCTION_NAME", &self.name),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
            ("AWS_LAMBDA_FUNCTION_VERSION", version.name()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", &group),
            ("AWS_LAMBDA_LOG_STREAM_NAME", log_stream),
            ("AWS_REGION", &owner.region),
            ("AWS_DEFAULT_REGION", &owner.region),
            // Those of the function's role; the stand-ins of this machine take any.
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_SESSION_TOKEN", "local"),
            ("LAMBDA_TASK_ROOT", &task_root),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
            ("LANG", "en_US.UTF-8"),
            ("TZ", ":UTC"),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ];
        let lambda = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
        lambda
            .into_iter()
            .chain(self.environment.iter().cloned())
            .chain(before.into_iter().flatten().cloned())
            .collect()
    }
}

impl std::fmt::Debug for Function {
    /// Without the environment, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .field("program", &self.program)
            .field("timeout", &self.timeout)
            .field("reserved_concurrency", &self.reserved_concurrency)
            .finish_non_exhaustive()
    }
}
