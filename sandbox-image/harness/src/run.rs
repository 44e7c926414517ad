//! The default harness: our own loop.

use std::time::Duration;

use nightshift_protocol::Brief;

use crate::{
    Finish, Harness,
    agent::Agent,
    checkpoint::{Checkpoint, CheckpointError},
    config::Config,
    heartbeat,
    link::ConnectError,
    model::{Model, Patience},
    servers::{CasebookError, RETURN_PATIENCE, Servers},
    session::Session,
    socket::Socket,
    toolbox::Toolbox,
};

/// The casebook is where the report goes; without it there is no point in starting.
const CASEBOOK_PATIENCE: Duration = Duration::from_secs(20);
/// The others may come back later; the model works with what there is.
const OTHERS_PATIENCE: Duration = Duration::from_secs(2);
/// For the report that says that the time is over.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// The harness could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The session file cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The casebook cannot be reached.
    #[error("the casebook could not be reached")]
    NoCasebook(#[source] ConnectError),
    /// The casebook does not take what the agent owes it.
    #[error(transparent)]
    Casebook(#[from] CasebookError),
    /// The time is over and the report that says so did not get through.
    #[error("the last report did not get through in time")]
    LastWords,
}

/// Our own loop on the Messages API.
#[derive(Debug, Clone)]
pub struct Native {
    /// Where things are.
    pub config: Config,
    /// How long to insist on an answer of the model.
    pub patience: Patience,
    /// How long a call waits for its server to come back.
    pub return_patience: Duration,
    /// Between two heartbeats.
    pub heartbeat: Duration,
}

impl Native {
    /// The loop with its usual timings.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            patience: Patience::default(),
            return_patience: RETURN_PATIENCE,
            heartbeat: heartbeat::INTERVAL,
        }
    }
}

impl Harness for Native {
    type Error = RunError;

    async fn work(&self, brief: Brief, stop: impl Future<Output = ()>) -> Result<Finish, RunError> {
        let socket = Socket::new(&self.config.socket);
        let checkpoint = Checkpoint::in_directory(&self.config.session_dir);
        let session = match checkpoint.load(brief.investigation)? {
            Some(session) => {
                tracing::info!(messages = session.messages.len(), "Going on with a session");
                session
            }
            None => Session::begin(&brief),
        };
        let servers = Servers::new(&brief.endpoints, socket.path(), self.return_patience);
        let toolbox = Toolbox::new(&servers, socket.clone());
        let model = Model::new(socket, &brief.endpoints.llm, self.patience);
        let mut agent = Agent::new(&brief, session, checkpoint, model, toolbox);
        let wall = Duration::from_secs(brief.limits.wall_seconds);

        let working = async {
            reach(&servers).await?;
            agent.work().await?;
            Ok(Finish::Done)
        };
        tokio::select! {
            done = working => return done,
            () = heartbeat::until_over(&servers, self.heartbeat) => return Ok(Finish::Over),
            () = stop => return Ok(Finish::Stopped),
            () = tokio::time::sleep(wall) => {}
        }
        let why = format!("the limit of {} s is reached", wall.as_secs());
        tokio::time::timeout(LAST_WORDS, agent.give_up(&why))
            .await
            .map_err(|_| RunError::LastWords)??;
        Ok(Finish::Done)
    }
}

/// Connects to all servers at the same time. Only the casebook is indispensable.
async fn reach(servers: &Servers) -> Result<(), RunError> {
    let (casebook, _, _) = tokio::join!(
        servers.casebook.reach(CASEBOOK_PATIENCE),
        servers.telemetry.reach(OTHERS_PATIENCE),
        servers.codebase.reach(OTHERS_PATIENCE),
    );
    casebook.map(drop).map_err(RunError::NoCasebook)
}
