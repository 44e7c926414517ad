//! Questions from people and the agent's answers.

use nightshift_domain::MessageId;
use nightshift_mcp_kit::secrets;
use nightshift_protocol::{Step, tools::casebook::InboxMessage};
use nightshift_store::{CHANNEL_OUTBOX, StoreError};

use super::{ATTEMPTS, Cases, RunKey, is_working};
use crate::CaseError;

impl Cases {
    /// The questions that wait for an answer, oldest first.
    pub async fn inbox(&self, run: RunKey) -> Result<Vec<InboxMessage>, CaseError> {
        let messages = self
            .store
            .messages_of(run.tenant, run.investigation)
            .await?;
        Ok(messages
            .into_iter()
            .filter(|message| message.answer.is_none())
            .map(|message| InboxMessage {
                message: message.id,
                author: message.author,
                text: message.body,
                at: message.at,
            })
            .collect())
    }

    /// Answers a question. Answering again changes nothing.
    ///
    /// A run that was started for questions about a finished report has nothing else to do: with
    /// the last answer it rests again.
    pub async fn answer(&self, run: RunKey, id: MessageId, text: &str) -> Result<(), CaseError> {
        for _ in 0..ATTEMPTS {
            match self.try_answer(run, id, text).await {
                Err(CaseError::Store(StoreError::Stale(_))) => {}
                done => return done,
            }
        }
        Err(CaseError::Contended)
    }

    async fn try_answer(&self, run: RunKey, id: MessageId, text: &str) -> Result<(), CaseError> {
        let messages = self
            .store
            .messages_of(run.tenant, run.investigation)
            .await?;
        if !messages.iter().any(|message| message.id == id) {
            return Err(CaseError::Unknown("message"));
        }
        let reported = self.store.report_of(run.tenant, run.investigation).await?;

        let mut tx = self.store.begin_for(run.whose()).await?;
        let investigation = self.held(&mut tx, run).await?;
        let now = self.clock.now();
        if !tx
            .answer_message(run.investigation, id, &secrets::scrub_text(text).0, now)
            .await?
        {
            return Ok(());
        }
        let detail = serde_json::json!({ "message": id });
        tx.add_event(run.investigation, "answered", &detail, now)
            .await?;
        let finished = reported.is_some_and(|report| report.epoch < run.epoch)
            && is_working(&investigation)
            && tx.unanswered(run.investigation).await? == 0;
        if finished {
            let mut rest = investigation.rest(run.epoch, now + self.rest_for)?;
            rest.event = "rested";
            tx.apply(rest, now).await?;
            let step = Step::Rest {
                investigation: run.investigation,
                epoch: run.epoch,
            };
            tx.enqueue(step, &run.tenant.to_string(), now).await?;
            tx.wake_coordinator(run.investigation, now).await?;
        }
        tx.commit().await?;
        self.tell();
        if finished {
            self.store.signals().send(CHANNEL_OUTBOX);
        }
        Ok(())
    }
}
