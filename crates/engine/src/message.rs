//! Gives a person's message to the agent, waking it where it rests.

use chrono::{DateTime, Utc};
use nightshift_domain::{
    Investigation, InvestigationId, MessageId, Sandbox, TenantId, investigation::State,
};
use nightshift_protocol::Step;
use nightshift_store::{
    Store, StoreError, Tx, Whose,
    plant::{Plant, planted},
};
use serde_json::json;

use crate::{Clock, platform::announce};

/// Why a message could not be given.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// There is no such investigation for this tenant.
    #[error("{0} does not exist")]
    Unknown(InvestigationId),
    /// It is over; its sandbox is gone.
    #[error("{0} is over and its sandbox was destroyed")]
    Closed(InvestigationId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores a message. A working agent finds it in its inbox; a resting one is started for it.
#[tracing::instrument(name = "engine.message.send", skip_all, fields(investigation.id = %id))]
pub async fn send(
    store: &Store,
    clock: &dyn Clock,
    tenant: Option<TenantId>,
    id: InvestigationId,
    author: &str,
    text: &str,
) -> Result<MessageId, MessageError> {
    let now = clock.now();
    let whose = tenant.map_or(Whose::RunOf(id), Whose::Tenant);
    let mut tx = store.begin_for(whose).await?;
    // Between a look without a lock and our commit it could report and rest, and whoever then looks for
    // questions would not see this one yet: nobody would wake it.
    if !planted(Plant::QuestionWithoutLock) {
        tx.lock_investigation(id).await?;
    }
    let found = match askable(tx.investigation(id).await?, tenant, id) {
        Ok(found) => found,
        Err(refused) => {
            tx.rollback().await?;
            return Err(refused);
        }
    };
    let message = tx.add_message(found.tenant, id, author, text, now).await?;
    tx.add_event(
        id,
        "asked",
        &json!({ "message": message, "author": author }),
        now,
    )
    .await?;
    wake(&mut tx, found, now).await?;
    tx.commit().await?;
    announce(store);
    Ok(message)
}

/// The investigation, if this tenant may ask about it and it is not over.
fn askable(
    found: Option<Investigation>,
    tenant: Option<TenantId>,
    id: InvestigationId,
) -> Result<Investigation, MessageError> {
    let found = found.ok_or(MessageError::Unknown(id))?;
    if tenant.is_some_and(|tenant| tenant != found.tenant) {
        return Err(MessageError::Unknown(id));
    }
    if found.state.deadline_at().is_none() {
        return Err(MessageError::Closed(id));
    }
    Ok(found)
}

/// Starts the sandbox of a resting investigation again; anything else is left as it is.
pub(crate) async fn wake(
    tx: &mut Tx,
    found: Investigation,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (investigation, tenant) = (found.id, found.tenant);
    let State::Resting(run) = found.state else {
        return Ok(());
    };
    let again = tx.sandbox(run.sandbox).await?.map(Sandbox::start_again);
    let (Some(Ok(again)), Ok(resumed)) = (again, found.resume(now)) else {
        return Ok(());
    };
    let epoch = again.next.epoch;
    tx.apply(resumed, now).await?;
    tx.apply_sandbox(again, now).await?;
    let step = Step::Dispatch {
        investigation,
        sandbox: run.sandbox,
        epoch,
    };
    tx.enqueue(step, &tenant.to_string(), now).await
}
