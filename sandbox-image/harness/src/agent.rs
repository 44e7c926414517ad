//! Takes one step after another until the report is submitted and every message answered.

use nightshift_protocol::{Brief, messages::MessagesRequest};

use crate::{
    checkpoint::Checkpoint,
    compact::{compact, size},
    inconclusive,
    model::{Model, ModelError},
    servers::CasebookError,
    session::Session,
    step::{Next, next},
    toolbox::Toolbox,
};

/// Whether there is another step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is.
    Going,
    /// There is nothing left to do.
    Done,
}

/// The agent at work on one investigation.
pub struct Agent<'a> {
    brief: &'a Brief,
    session: Session,
    checkpoint: Checkpoint,
    model: Model,
    toolbox: Toolbox<'a>,
}

impl<'a> Agent<'a> {
    /// An agent that goes on with `session`.
    #[must_use]
    pub const fn new(
        brief: &'a Brief,
        session: Session,
        checkpoint: Checkpoint,
        model: Model,
        toolbox: Toolbox<'a>,
    ) -> Self {
        Self {
            brief,
            session,
            checkpoint,
            model,
            toolbox,
        }
    }

    /// The session as it is now.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Takes steps until there is none left.
    ///
    /// # Errors
    /// The casebook does not take what the agent owes it.
    pub async fn work(&mut self) -> Result<(), CasebookError> {
        while self.step().await? == Progress::Going {}
        Ok(())
    }

    /// Takes one step and writes the session.
    ///
    /// # Errors
    /// The casebook does not take what the agent owes it.
    pub async fn step(&mut self) -> Result<Progress, CasebookError> {
        let most_requests = self.brief.limits.model_requests;
        match next(&self.session, most_requests) {
            Next::Ask => self.ask().await?,
            Next::Call(calls) => {
                let outcomes = self.toolbox.call_all(&calls).await;
                self.session.take_results(&calls, outcomes, most_requests);
                self.save();
            }
            Next::Remind => {
                self.session.remind();
                self.save();
            }
            Next::GiveUp(why) => self.give_up(why).await?,
            Next::Finished => return self.finish().await,
        }
        Ok(Progress::Going)
    }

    async fn ask(&mut self) -> Result<(), CasebookError> {
        let limit = self.brief.limits.context_chars;
        let tools = self.toolbox.catalogue().await;
        self.make_room(limit);
        let mut request = MessagesRequest {
            model: self.brief.model.clone(),
            max_tokens: self.brief.limits.max_tokens,
            system: Some(self.brief.instructions.clone()),
            messages: self.session.messages.clone(),
            tools,
            stream: false,
        };
        let mut answer = self.model.ask(&request).await;
        if matches!(answer, Err(ModelError::TooLong)) {
            self.make_room(size(&self.session.messages) / 2);
            request.messages.clone_from(&self.session.messages);
            answer = self.model.ask(&request).await;
        }
        match answer {
            Ok(answer) => {
                self.session.hear(answer);
                self.save();
                Ok(())
            }
            Err(error) => {
                tracing::error!(error = %error, "The model gives no answer, giving up");
                self.give_up(&error.to_string()).await
            }
        }
    }

    fn make_room(&mut self, limit: usize) {
        let cut = compact(&mut self.session.messages, &self.session.evidence, limit);
        if cut > 0 {
            tracing::info!(cut, limit, "Shortened the transcript");
        }
    }

    /// Ends what is open in the model's place: the question with an apology, the investigation with
    /// an inconclusive report. Nothing ends silently.
    ///
    /// # Errors
    /// The casebook does not take it.
    pub async fn give_up(&mut self, why: &str) -> Result<(), CasebookError> {
        if self.session.question.is_some() {
            self.send(format!("I could not work this out: {why}."))
                .await?;
        } else if !self.session.report_submitted {
            let report = inconclusive::report(&self.session, why);
            self.toolbox.servers().submit_report(report).await?;
            self.session.report_submitted = true;
        }
        tracing::warn!(why, "Ended the work in the agent's place");
        self.session.give_up();
        self.save();
        Ok(())
    }

    async fn finish(&mut self) -> Result<Progress, CasebookError> {
        if self.session.question.is_some() {
            let words = self.session.last_words();
            let text = words.unwrap_or_else(|| "I have nothing to add to the report.".to_owned());
            self.send(text).await?;
            self.save();
            return Ok(Progress::Going);
        }
        let inbox = self.toolbox.servers().inbox().await?;
        let open = inbox
            .iter()
            .find(|one| !self.session.answered.contains(&one.message));
        let Some(message) = open else {
            return Ok(Progress::Done);
        };
        self.session.put_question(message);
        self.save();
        Ok(Progress::Going)
    }

    /// Answers the open question, unless that happened already: by the model itself, or by a start
    /// that ended before it could write that down.
    async fn send(&mut self, text: String) -> Result<(), CasebookError> {
        let servers = self.toolbox.servers();
        if let Some(question) = self.session.question
            && servers
                .inbox()
                .await?
                .iter()
                .any(|waiting| waiting.message == question)
        {
            servers.answer(question, text).await?;
        }
        self.session.close_question();
        Ok(())
    }

    /// A volume that takes no more is bad, but a report without a session file is better than none.
    fn save(&self) {
        if let Err(error) = self.checkpoint.save(&self.session) {
            tracing::error!(error = %error, "Could not write the session file, going on without");
        }
    }
}
