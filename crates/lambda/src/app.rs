//! The objects a function builds once, at cold start.

use std::{path::PathBuf, sync::Arc};

use nightshift_engine::{Clock, Platform, Settings, SystemClock, provider::Provider};
use nightshift_store::Store;

use crate::{
    BadEnvironment, Environment, FileSecrets, HttpCourier, Kms, Publisher, Queues, SealedFile,
    Secrets, SecretsManager, Sqs, aws::Aws, courier::Reach, metrics::Metrics, secrets::key_path,
    telemetry,
};

/// Connections one instance of a function holds, at most: it answers one invocation at a time, in which
/// a few steps may be under way, and a signal beside them.
const CONNECTIONS: u32 = 4;

/// The objects a function builds once, at cold start.
#[derive(Clone)]
pub struct App {
    /// The database. Nothing is asked of it before the first use.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where references to secrets lead.
    pub secrets: Arc<dyn Secrets>,
    /// The keys that nobody sees.
    pub kms: Arc<Kms>,
    /// The queues.
    pub sqs: Arc<Sqs>,
    /// Sends what was written to the queues.
    pub publisher: Publisher,
    /// The few numbers that somebody is woken for.
    pub metrics: Metrics,
    reach: Reach,
}

/// The function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Variables are missing or wrong.
    #[error(transparent)]
    Environment(#[from] BadEnvironment),
    /// `DATABASE_URL` cannot be used.
    #[error("DATABASE_URL is not the address of a database")]
    Database(#[from] nightshift_store::StoreError),
}

/// Where secrets are.
enum Keeper {
    File(SealedFile),
    Manager {
        prefix: String,
        endpoint: Option<String>,
    },
}

impl Keeper {
    fn from_env(env: &mut Environment) -> Option<Self> {
        let file: Option<PathBuf> = env.optional("NIGHTSHIFT_SECRETS");
        let key: Option<PathBuf> = env.optional("NIGHTSHIFT_SECRETS_KEY");
        let prefix = env.optional("NIGHTSHIFT_SECRETS_PREFIX");
        let endpoint = env.optional("AWS_ENDPOINT_URL_SECRETS_MANAGER");
        match (file, prefix) {
            (Some(path), None) => {
                let key = key.unwrap_or_else(|| key_path(&path));
                Some(Self::File(SealedFile::with_key(path, key)))
            }
            (None, Some(prefix)) => Some(Self::Manager { prefix, endpoint }),
            (Some(_), Some(_)) => {
                env.reject(
                    "NIGHTSHIFT_SECRETS",
                    "NIGHTSHIFT_SECRETS_PREFIX is set as well",
                );
                None
            }
            (None, None) => {
                env.reject(
                    "NIGHTSHIFT_SECRETS",
                    "it is not set, and neither is NIGHTSHIFT_SECRETS_PREFIX",
                );
                None
            }
        }
    }

    fn open(self, aws: &Aws) -> Arc<dyn Secrets> {
        match self {
            Self::File(file) => Arc::new(FileSecrets::of(file)),
            Self::Manager { prefix, endpoint } => {
                Arc::new(SecretsManager::new(aws.clone(), prefix, endpoint))
            }
        }
    }
}

impl App {
    /// Builds everything from the environment. `more` reads what one function needs beyond that, so that
    /// every fault is named at once. Nothing is asked over the network.
    ///
    /// - `DATABASE_URL`
    /// - `NIGHTSHIFT_SECRETS`, the path of a sealed file (its key in `NIGHTSHIFT_SECRETS_KEY`, or beside it),
    ///   or `NIGHTSHIFT_SECRETS_PREFIX`, what the names of our secrets in Secrets Manager begin with
    /// - `NIGHTSHIFT_QUEUES`, how the URLs of our queues begin
    /// - those of [`Aws::from_env`]; `AWS_ENDPOINT_URL_SQS`, `AWS_ENDPOINT_URL_SECRETS_MANAGER` and
    ///   `AWS_ENDPOINT_URL_KMS` for stand-ins; `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets, for the metrics
    /// - `NIGHTSHIFT_REPORTS_REACH`, `anywhere` where reports may go to this machine, or HOST:PORT,… (see [`Reach`])
    /// - those of [`telemetry::start`]
    pub fn from_env<T>(
        more: impl FnOnce(&mut Environment) -> Option<T>,
    ) -> Result<(Self, T), StartError> {
        Self::with_connections(CONNECTIONS, more)
    }

    /// The same with at most so many connections to the database. A pool opens another one wherever the last is not
    /// yet returned, and each costs its time at a cold start.
    pub fn with_connections<T>(
        connections: u32,
        more: impl FnOnce(&mut Environment) -> Option<T>,
    ) -> Result<(Self, T), StartError> {
        let mut env = Environment::of_this_process();
        telemetry::start(&mut env);
        let (parts, more) = Parts::from_env(&mut env, more);
        let (Some(parts), Some(more)) = (parts, more) else {
            return Err(env.faults().into());
        };
        env.settle()?;
        Ok((parts.build(connections)?, more))
    }

    /// What the use cases run on.
    #[must_use]
    pub fn platform(&self, provider: Arc<dyn Provider>, settings: Settings) -> Platform {
        Platform {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            provider,
            courier: Arc::new(HttpCourier::new(
                Arc::clone(&self.secrets),
                self.reach.clone(),
            )),
            settings: Arc::new(settings),
        }
    }
}

struct Parts {
    database: String,
    keeper: Keeper,
    queues: Queues,
    endpoint: Option<String>,
    kms_endpoint: Option<String>,
    aws: Aws,
    function: String,
    reach: Reach,
}

impl Parts {
    fn from_env<T>(
        env: &mut Environment,
        more: impl FnOnce(&mut Environment) -> Option<T>,
    ) -> (Option<Self>, Option<T>) {
        let database = env.required("DATABASE_URL");
        let keeper = Keeper::from_env(env);
        let queues = env.required("NIGHTSHIFT_QUEUES");
        let endpoint = env.optional("AWS_ENDPOINT_URL_SQS");
        let kms_endpoint = env.optional("AWS_ENDPOINT_URL_KMS");
        let aws = Aws::from_env(env);
        let function: Option<String> = env.optional("AWS_LAMBDA_FUNCTION_NAME");
        let reach = env.optional("NIGHTSHIFT_REPORTS_REACH").unwrap_or_default();
        let more = more(env);
        let parts = move || {
            Some(Self {
                database: database?,
                keeper: keeper?,
                queues: queues?,
                endpoint,
                kms_endpoint,
                aws: aws?,
                function: function.unwrap_or_else(|| "nightshift".to_owned()),
                reach,
            })
        };
        (parts(), more)
    }

    fn build(self, connections: u32) -> Result<App, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::lazy(&self.database, connections)?;
        let secrets = self.keeper.open(&self.aws);
        let kms = Kms::new(self.aws.clone(), self.kms_endpoint, Arc::clone(&clock));
        let sqs = Sqs::new(self.aws, self.queues, self.endpoint, Arc::clone(&clock));
        let sqs = Arc::new(sqs);
        let metrics = Metrics::of(&self.function, Arc::clone(&clock));
        let publisher = Publisher::new(
            store.clone(),
            Arc::clone(&clock),
            sqs.clone(),
            metrics.clone(),
        );
        Ok(App {
            store,
            clock,
            secrets,
            kms: Arc::new(kms),
            sqs,
            publisher,
            metrics,
            reach: self.reach,
        })
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults<const N: usize>(variables: [(&str, &str); N]) -> String {
        let mut env = Environment::of(variables);
        let (parts, more) = Parts::from_env(&mut env, |env| env.required::<String>("MORE"));
        assert!(parts.is_none() || more.is_none());
        env.faults().to_string()
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let named = faults([("NIGHTSHIFT_QUEUES", "nonsense-hunter2")]);
        for name in [
            "DATABASE_URL is",
            "NIGHTSHIFT_SECRETS cannot",
            "NIGHTSHIFT_QUEUES cannot",
            "AWS_REGION is",
            "AWS_ACCESS_KEY_ID is",
            "AWS_SECRET_ACCESS_KEY is",
            "MORE is",
        ] {
            assert!(named.contains(name), "{name}: {named}");
        }
        assert!(!named.contains("hunter2"), "{named}");
    }

    #[test]
    fn two_keepers_of_secrets_are_one_too_many() {
        let named = faults([
            ("NIGHTSHIFT_SECRETS", "/a"),
            ("NIGHTSHIFT_SECRETS_PREFIX", "b/"),
        ]);
        assert!(
            named.contains("NIGHTSHIFT_SECRETS_PREFIX is set as well"),
            "{named}"
        );
    }

    #[tokio::test]
    async fn a_complete_environment_makes_an_app_without_asking_anybody() {
        let mut env = Environment::of([
            ("DATABASE_URL", "postgres://nobody@192.0.2.1/nowhere"),
            ("NIGHTSHIFT_SECRETS_PREFIX", "nightshift/"),
            ("NIGHTSHIFT_QUEUES", "https://sqs.example/1/nightshift-"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ]);
        let (parts, more) = Parts::from_env(&mut env, |_| Some(()));
        env.settle().unwrap();
        let app = parts.unwrap().build(1).unwrap();
        assert_eq!(more, Some(()));
        assert!(!format!("{app:?} {:?}", app.sqs).contains("hunter2"));
    }
}
