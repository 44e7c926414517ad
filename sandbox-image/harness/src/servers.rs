//! The three MCP servers: connected at the same time, and again when a connection broke.

use std::{path::PathBuf, sync::Arc, time::Duration};

use nightshift_domain::{MessageId, report::ReportDraft};
use nightshift_protocol::{
    brief::Endpoints,
    tools::casebook::{
        AnswerMessageArgs, Heartbeat, Inbox, InboxMessage, NoArgs, Noted, ReportAccepted,
        SubmitReportArgs,
    },
};
use rmcp::model::JsonObject;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    link::{CallError, ConnectError, Link},
    toolbox::Outcome,
};

/// How long a call waits for a server that is being started again.
pub const RETURN_PATIENCE: Duration = Duration::from_secs(15);
/// Between two attempts to reach a server.
const PAUSE: Duration = Duration::from_millis(100);

/// The casebook did not do what the harness itself asked.
#[derive(Debug, thiserror::Error)]
pub enum CasebookError {
    /// It said no.
    #[error("the casebook refused {tool}: {detail}")]
    Refused {
        /// The tool.
        tool: &'static str,
        /// What it said.
        detail: String,
    },
    /// Its answer is not what the protocol promises.
    #[error("unreadable answer of {tool}")]
    Answer {
        /// The tool.
        tool: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// One server and the connection to it, where there is one.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    url: String,
    socket: PathBuf,
    patience: Duration,
    link: Mutex<Option<Arc<Link>>>,
}

impl Server {
    fn new(name: &'static str, url: &str, socket: PathBuf, patience: Duration) -> Self {
        Self {
            name,
            url: url.to_owned(),
            socket,
            patience,
            link: Mutex::new(None),
        }
    }

    /// Its name, the first part of its tools' names.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The connection; a new one where there is none.
    pub async fn link(&self) -> Result<Arc<Link>, ConnectError> {
        let mut link = self.link.lock().await;
        if let Some(link) = &*link {
            return Ok(Arc::clone(link));
        }
        let made = Arc::new(Box::pin(Link::connect(&self.socket, &self.url)).await?);
        *link = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Insists on a connection for as long as `patience`.
    ///
    /// # Errors
    /// What went wrong last.
    pub async fn reach(&self, patience: Duration) -> Result<Arc<Link>, ConnectError> {
        let started = tokio::time::Instant::now();
        loop {
            match self.link().await {
                Err(error) if started.elapsed() < patience => {
                    tracing::warn!(server = self.name, error = %error, "Could not connect yet");
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    async fn forget(&self, broken: &Arc<Link>) {
        let mut link = self.link.lock().await;
        if link
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, broken))
        {
            *link = None;
        }
    }

    /// Calls a tool. Where the connection is broken it is made anew, once, as soon as the server is back: every
    /// tool may be called twice without harm.
    pub async fn call(&self, tool: &str, arguments: JsonObject) -> Outcome {
        let mut last = String::new();
        for _ in 0..2 {
            let link = match self.reach(self.patience).await {
                Ok(link) => link,
                Err(error) => return Outcome::error(unreachable(self.name, &error.to_string())),
            };
            match link.call(tool, arguments.clone()).await {
                Ok(result) => return result.into(),
                Err(CallError::Broken(detail)) => {
                    self.forget(&link).await;
                    last = detail;
                }
                Err(error) => return Outcome::error(error.to_string()),
            }
        }
        Outcome::error(unreachable(self.name, &last))
    }
}

fn unreachable(server: &str, detail: &str) -> String {
    format!("the {server} server could not be reached: {detail}")
}

/// The servers of a run.
#[derive(Debug)]
pub struct Servers {
    /// The case itself.
    pub casebook: Server,
    /// Logs, metrics and traces.
    pub telemetry: Server,
    /// Repositories and changes.
    pub codebase: Server,
}

impl Servers {
    /// The servers of a brief, behind the supervisor's socket. Connects when it must; a call waits for so long
    /// that its server comes back.
    #[must_use]
    pub fn new(endpoints: &Endpoints, socket: &std::path::Path, patience: Duration) -> Self {
        let server = |name, url: &str| Server::new(name, url, socket.to_owned(), patience);
        Self {
            casebook: server("casebook", &endpoints.casebook),
            telemetry: server("telemetry", &endpoints.telemetry),
            codebase: server("codebase", &endpoints.codebase),
        }
    }

    /// Every server, in the order in which the model sees their tools.
    #[must_use]
    pub const fn all(&self) -> [&Server; 3] {
        [&self.casebook, &self.telemetry, &self.codebase]
    }

    /// Whether the run is still wanted.
    pub async fn heartbeat(&self) -> Result<Heartbeat, CasebookError> {
        self.ask("heartbeat", &NoArgs {}).await
    }

    /// Submits a report. Doing so twice is one report.
    pub async fn submit_report(
        &self,
        report: ReportDraft,
    ) -> Result<ReportAccepted, CasebookError> {
        self.ask("submit_report", &SubmitReportArgs { report })
            .await
    }

    /// Messages from people that nobody answered yet.
    pub async fn inbox(&self) -> Result<Vec<InboxMessage>, CasebookError> {
        Ok(self
            .ask::<_, Inbox>("read_inbox", &NoArgs {})
            .await?
            .messages)
    }

    /// Answers a person.
    pub async fn answer(&self, message: MessageId, text: String) -> Result<(), CasebookError> {
        let Noted {} = self
            .ask("answer_message", &AnswerMessageArgs { message, text })
            .await?;
        Ok(())
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        tool: &'static str,
        question: &Q,
    ) -> Result<A, CasebookError> {
        let unreadable = |source| CasebookError::Answer { tool, source };
        let Value::Object(arguments) = serde_json::to_value(question).map_err(unreadable)? else {
            let detail = "the arguments are no object".to_owned();
            return Err(CasebookError::Refused { tool, detail });
        };
        let outcome = self.casebook.call(tool, arguments).await;
        if outcome.is_error {
            return Err(CasebookError::Refused {
                tool,
                detail: outcome.text,
            });
        }
        match outcome.structured {
            Some(answer) => serde_json::from_value(answer),
            None => serde_json::from_str(&outcome.text),
        }
        .map_err(unreadable)
    }
}
