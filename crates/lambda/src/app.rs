//! The objects a function builds once, at cold start.

use std::{path::PathBuf, sync::Arc};

use nightshift_engine::{Clock, SystemClock};
use nightshift_store::Store;

use crate::{BadEnvironment, Environment, FileSecrets, Secrets, telemetry};

/// Connections one instance of a function holds: it answers one invocation at a time, and a
/// request for signals may be under way beside it.
const CONNECTIONS: u32 = 2;

/// The objects a function builds once, at cold start.
#[derive(Clone)]
pub struct App {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where references to secrets lead.
    pub secrets: Arc<dyn Secrets>,
}

/// The function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Variables are missing or wrong.
    #[error(transparent)]
    Environment(#[from] BadEnvironment),
    /// `DATABASE_URL` cannot be used.
    #[error("the database that DATABASE_URL names does not answer")]
    Database(#[from] nightshift_store::StoreError),
}

impl App {
    /// Builds everything from the environment: `DATABASE_URL`, `NIGHTSHIFT_SECRETS` (the path of
    /// the secrets file) and those of [`telemetry::start`]. `more` reads what one function needs
    /// beyond that, so that every fault is named at once.
    pub async fn from_env<T>(
        more: impl FnOnce(&mut Environment) -> Option<T>,
    ) -> Result<(Self, T), StartError> {
        let mut env = Environment::of_this_process();
        telemetry::start(&mut env);
        let database: Option<String> = env.required("DATABASE_URL");
        let secrets: Option<PathBuf> = env.required("NIGHTSHIFT_SECRETS");
        let more = more(&mut env);
        let (Some(database), Some(secrets), Some(more)) = (database, secrets, more) else {
            return Err(env.faults().into());
        };
        env.settle()?;
        let app = Self {
            store: Store::connect(&database, CONNECTIONS).await?,
            clock: Arc::new(SystemClock),
            secrets: Arc::new(FileSecrets::new(secrets)),
        };
        Ok((app, more))
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}
