//! Turns overdue rows into steps: nothing can be stuck for ever, and nothing relies on one process.

use chrono::{DateTime, Utc};
use nightshift_domain::{
    Epoch, Investigation, Sandbox,
    investigation::{RUN_LIMIT, State},
    sandbox::SandboxState,
};
use nightshift_protocol::Step;
use nightshift_store::{
    Overdue, StoreError, Tx,
    plant::{Plant, planted},
};

use crate::{
    Platform,
    breaker::{self, Outcome},
    causes,
    conclude::{conclude, release},
    lost::give_up,
    reconcile::reconcile,
};

/// Rows looked at in one transaction.
const BATCH: i64 = 100;
/// Why a sandbox is given up whose making never came to an end.
const TOO_SLOW: &str = "making it took too long";

/// What a sweep found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Overdue investigations.
    pub investigations: usize,
    /// Overdue sandboxes.
    pub sandboxes: usize,
}

/// Looks at everything whose deadline is over. Sweeps that run side by side pass over each other's rows.
#[tracing::instrument(name = "engine.sweep", skip_all)]
pub async fn sweep(platform: &Platform) -> Result<Swept, StoreError> {
    let swept = Swept {
        investigations: sweep_investigations(platform).await?,
        sandboxes: sweep_sandboxes(platform).await?,
    };
    let now = platform.clock.now();
    let mut tx = platform.store.begin().await?;
    tx.forget_statements(now).await?;
    tx.forget_demand(now).await?;
    for pool in tx.pool_ids().await? {
        tx.enqueue(Step::Refill { pool }, &pool.to_string(), now)
            .await?;
        tx.enqueue(Step::ClaimWake { pool }, &pool.to_string(), now)
            .await?;
    }
    tx.commit().await?;
    platform.announce();
    // The provider may be away for longer than our own house may stay unswept.
    if let Err(error) = reconcile(platform).await {
        tracing::warn!(
            error = causes(&error),
            "Could not compare with what the provider has"
        );
    }
    Ok(swept)
}

async fn sweep_investigations(platform: &Platform) -> Result<usize, StoreError> {
    let mut overdue = Overdue::at(platform.clock.now());
    let mut swept = 0;
    loop {
        let now = platform.clock.now();
        let mut tx = platform.store.begin().await?;
        let found = tx.overdue_investigations(&mut overdue, BATCH).await?;
        let count = found.len();
        for investigation in found {
            let passed_over = planted(Plant::SweepIgnoresStarting)
                && matches!(investigation.state, State::Starting(_));
            if !passed_over {
                bring_back(&mut tx, platform, investigation, now).await?;
            }
        }
        tx.commit().await?;
        swept += count;
        if count == 0 {
            return Ok(swept);
        }
    }
}

async fn sweep_sandboxes(platform: &Platform) -> Result<usize, StoreError> {
    let mut overdue = Overdue::at(platform.clock.now());
    let mut swept = 0;
    loop {
        let now = platform.clock.now();
        let mut tx = platform.store.begin().await?;
        let found = tx.overdue_sandboxes(&mut overdue, BATCH).await?;
        let count = found.len();
        let unfinished: Vec<_> = found
            .iter()
            .filter(|sandbox| sandbox.state == SandboxState::Provisioning)
            .map(|sandbox| sandbox.id)
            .collect();
        for sandbox in found {
            move_on(&mut tx, platform, sandbox, now).await?;
        }
        for sandbox in unfinished {
            breaker::note(&mut tx, sandbox, Outcome::Failed(TOO_SLOW), now).await?;
        }
        tx.commit().await?;
        swept += count;
        if count == 0 {
            return Ok(swept);
        }
    }
}

async fn bring_back(
    tx: &mut Tx,
    platform: &Platform,
    overdue: Investigation,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    match overdue.state {
        State::Queued { .. } => {
            let pool = tx.pool_of(overdue.id).await?;
            if let Ok(waiting) = overdue.keep_waiting(now) {
                tx.apply(waiting, now).await?;
            }
            if let Some(pool) = pool {
                tx.enqueue(Step::ClaimWake { pool }, &pool.to_string(), now)
                    .await?;
                tx.enqueue(Step::Refill { pool }, &pool.to_string(), now)
                    .await?;
            }
            Ok(())
        }
        State::Claimed(_) | State::Starting(_) | State::Working(_) => {
            restart(tx, platform, overdue, now).await
        }
        State::Resting(_) => conclude(tx, overdue, now).await,
        State::Concluded { .. } | State::Cancelled { .. } | State::Failed { .. } => Ok(()),
    }
}

/// Starts a silent sandbox again under the next epoch, or gives the investigation up.
async fn restart(
    tx: &mut Tx,
    platform: &Platform,
    silent: Investigation,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(run) = silent.state.run() else {
        return Ok(());
    };
    let granted_at = tx.first_granted_at(silent.id).await?;
    if granted_at.is_some_and(|granted_at| now - granted_at > RUN_LIMIT) {
        let reason = "it took longer than an investigation may take";
        return give_up(tx, platform, silent, reason).await;
    }
    let (id, tenant) = (silent.id, silent.tenant);
    if tx.has_report(id).await? && tx.unanswered(id).await? == 0 {
        // It was awake for a follow-up that is answered: there is nothing to start it for.
        if let Ok(resting) = silent.clone().rest(run.epoch, now) {
            tx.apply(resting, now).await?;
            return tx.wake_coordinator(id, now).await;
        }
    }
    let Ok(mut restarted) = silent.clone().restart(now) else {
        return give_up(tx, platform, silent, "its sandbox went silent too often").await;
    };
    let Some(Ok(mut again)) = tx.sandbox(run.sandbox).await?.map(Sandbox::start_again) else {
        return give_up(tx, platform, silent, "its sandbox was destroyed").await;
    };
    if planted(Plant::EpochReset)
        && let State::Claimed(run) = &mut restarted.next.state
    {
        (run.epoch, again.next.epoch) = (Epoch(1), Epoch(1));
    }
    let epoch = again.next.epoch;
    tracing::warn!(investigation.id = %id, %epoch, "Starting a silent sandbox again");
    tx.apply(restarted, now).await?;
    tx.apply_sandbox(again, now).await?;
    let step = Step::Dispatch {
        investigation: id,
        sandbox: run.sandbox,
        epoch,
    };
    tx.enqueue(step, &tenant.to_string(), now).await
}

async fn move_on(
    tx: &mut Tx,
    platform: &Platform,
    overdue: Sandbox,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let id = overdue.id;
    match overdue.state {
        SandboxState::Planned => release(tx, id, "nobody began to make it", now).await,
        SandboxState::Provisioning => release(tx, id, TOO_SLOW, now).await,
        SandboxState::Ready => release(tx, id, "it was ready for too long", now).await,
        SandboxState::Claimed { investigation } => match tx.investigation(investigation).await? {
            Some(held) if held.state.run().is_some_and(|run| run.sandbox == id) => {
                give_up(
                    tx,
                    platform,
                    held,
                    "its sandbox reached the end of its life",
                )
                .await
            }
            Some(_) | None => release(tx, id, "its investigation is over", now).await,
        },
        SandboxState::Retiring { .. } => {
            if let Ok(again) = overdue.retire_again(now) {
                tx.apply_sandbox(again, now).await?;
            }
            tx.enqueue(Step::Retire { sandbox: id }, &id.to_string(), now)
                .await
        }
        SandboxState::Gone { .. } => Ok(()),
    }
}
