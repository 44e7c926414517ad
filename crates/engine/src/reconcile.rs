//! Compares what the provider has with what we think it has.
//!
//! A list lags behind and may lack whole regions, so it only raises a suspicion. What is listed and should
//! not be is destroyed when it is seen so twice, with more than the list's lag between; what should be listed
//! and is not is asked for by its name before anything is concluded. Only what carries our name or our
//! installation's mark is ours.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::{SandboxId, investigation::State, sandbox::SandboxState};
use nightshift_machines::MachinesError;
use nightshift_protocol::Step;
use nightshift_store::{Sighting, Standing, StoreError};

use crate::{
    Platform,
    conclude::{conclude, release},
    lost,
    provider::{Inventory, Listed, Presence, Remains},
    provision::{INSTALLATION, app_name},
};

/// Longer than any list lags, and than a call may be under way whose answer was lost.
pub const GRACE: TimeDelta = TimeDelta::minutes(3);
/// Suspicions settled in one pass, at most; the next pass goes on.
const AT_ONCE: i64 = 50;
/// How long one pass goes on settling; what is left is still a suspicion in the next.
const BUDGET: TimeDelta = TimeDelta::seconds(20);
/// Rows asked for in one statement.
const CHUNK: usize = 1_000;

/// What a pass settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Apps that nobody wants, destroyed.
    pub destroyed: usize,
    /// Machines whose creation was never answered, taken on.
    pub adopted: usize,
    /// Sandboxes whose machine is gone, replaced.
    pub replaced: usize,
}

/// Why a comparison was not finished. The next pass begins anew.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The provider could not be asked.
    #[error("the provider did not tell what it has")]
    Provider(#[from] MachinesError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a list and our rows do not agree about.
#[derive(Debug, Default)]
struct Differences {
    orphans: Vec<String>,
    unlearned: Vec<String>,
    vanished: Vec<String>,
    /// What is in a region that did not answer.
    unseen: Vec<String>,
}

/// Compares once. Passes that run side by side do the same things twice, which does no harm.
#[tracing::instrument(name = "engine.reconcile", skip_all)]
pub async fn reconcile(platform: &Platform) -> Result<Reconciled, ReconcileError> {
    let now = platform.clock.now();
    // What we hold is read before the list is asked for, and what the list has is looked up after it came:
    // a machine is in a row before it is made, and so never in a list before it is in a row.
    let mut tx = platform.store.begin().await?;
    let standing = tx.standing().await?;
    let installation = tx.installation().await?;
    drop(tx);
    let inventory = platform.provider.inventory().await?;
    let known = known(platform, &inventory).await?;
    let differences = compare(&inventory, &standing, &known, &installation);

    let mut tx = platform.store.begin().await?;
    let kinds = [
        (Sighting::Orphan, &differences.orphans),
        (Sighting::Unlearned, &differences.unlearned),
        (Sighting::Vanished, &differences.vanished),
    ];
    let mut due: Vec<Vec<String>> = Vec::with_capacity(kinds.len());
    for (kind, apps) in kinds {
        due.push(tx.sight(kind, apps, GRACE, AT_ONCE, now).await?);
        tx.forget_sightings(kind, &differences.unseen, now).await?;
    }
    tx.commit().await?;

    let mut done = Reconciled::default();
    let [orphans, unlearned, vanished] = due.as_slice() else {
        return Ok(done);
    };
    let in_time = || platform.clock.now() - now < BUDGET;
    for held in standing.iter().filter(|held| vanished.contains(&held.app)) {
        if in_time() {
            done.replaced += usize::from(unless_stale(replace(platform, held, now).await)?);
        }
    }
    for app in orphans.iter().take_while(|_| in_time()) {
        let listed = inventory.apps.get(app).map_or(&[][..], Vec::as_slice);
        done.destroyed += usize::from(destroy(platform, app, listed).await?);
    }
    for app in unlearned {
        if let Some([machine]) = inventory.apps.get(app).map(Vec::as_slice) {
            let adopted = adopt(platform, app, machine, now).await;
            done.adopted += usize::from(unless_stale(adopted.map_err(Into::into))?);
        }
    }
    if done != Reconciled::default() {
        tracing::info!(?done, "Settled differences with the provider");
        platform.announce();
    }
    Ok(done)
}

/// Whoever else changed it at the same moment has settled it.
fn unless_stale(result: Result<bool, ReconcileError>) -> Result<bool, ReconcileError> {
    match result {
        Err(ReconcileError::Store(StoreError::Stale(_))) => Ok(false),
        other => other,
    }
}

/// The sandbox that an app's name belongs to, if it is of the form of ours.
fn sandbox_of(app: &str) -> Option<SandboxId> {
    let hex = app.strip_prefix("ns-")?;
    let id: SandboxId = format!("sbx_{hex}").parse().ok()?;
    (app_name(id) == app).then_some(id)
}

/// What our rows say of those that the list names: the state, and whether the machine is known.
async fn known(
    platform: &Platform,
    inventory: &Inventory,
) -> Result<BTreeMap<SandboxId, (String, bool)>, StoreError> {
    let ids: Vec<SandboxId> = inventory
        .apps
        .keys()
        .filter_map(|app| sandbox_of(app))
        .collect();
    let mut known = BTreeMap::new();
    for chunk in ids.chunks(CHUNK) {
        let mut tx = platform.store.begin().await?;
        let rows = tx.known(chunk).await?;
        known.extend(
            rows.into_iter()
                .map(|(id, state, machine)| (id, (state, machine))),
        );
    }
    Ok(known)
}

fn compare(
    inventory: &Inventory,
    standing: &[Standing],
    known: &BTreeMap<SandboxId, (String, bool)>,
    installation: &str,
) -> Differences {
    let mut found = Differences::default();
    for (app, machines) in &inventory.apps {
        let Some(id) = sandbox_of(app) else { continue };
        let marked = |machine: &Listed| {
            machine.metadata.get(INSTALLATION).map(String::as_str) == Some(installation)
        };
        match known
            .get(&id)
            .map(|(state, machine)| (state.as_str(), *machine))
        {
            Some(("gone", _)) => found.orphans.push(app.clone()),
            Some(("provisioning", false)) if !machines.is_empty() => {
                found.unlearned.push(app.clone());
            }
            // Not in our rows, and yet made by us: the rows are older than it, as after a restore.
            None if !machines.is_empty() && machines.iter().all(marked) => {
                found.orphans.push(app.clone());
            }
            // Ours and as it should be; or somebody else's; or nothing that costs anything.
            Some(_) | None => {}
        }
    }
    let listed: BTreeSet<&str> = inventory
        .apps
        .values()
        .flatten()
        .map(|machine| machine.machine.as_str())
        .collect();
    for held in standing {
        if inventory.silent_regions.contains(&held.region) {
            found.unseen.push(held.app.clone());
        } else if !listed.contains(held.machine.as_str()) {
            found.vanished.push(held.app.clone());
        }
    }
    found
}

/// Destroys an app that nobody wants. Whether nobody does is asked once more: rows never come back from gone.
async fn destroy(
    platform: &Platform,
    app: &str,
    machines: &[Listed],
) -> Result<bool, ReconcileError> {
    let Some(id) = sandbox_of(app) else {
        return Ok(false);
    };
    let mut tx = platform.store.begin().await?;
    let wanted = tx
        .known(&[id])
        .await?
        .iter()
        .any(|(_, state, _)| state != "gone");
    drop(tx);
    if wanted {
        return Ok(false);
    }
    tracing::warn!(app, "Destroying what nobody wants");
    let remains = Remains {
        machine: machines.first().map(|machine| machine.machine.clone()),
        volume: None,
    };
    if let Err(error) = platform.provider.remove(app, &remains).await {
        // It stays a suspicion, and the others have their turn.
        tracing::warn!(app, %error, "Could not destroy what nobody wants");
        return Ok(false);
    }
    forget(platform, Sighting::Orphan, app).await?;
    Ok(true)
}

/// Learns of a machine whose creation was never answered, and goes on making its sandbox.
async fn adopt(
    platform: &Platform,
    app: &str,
    machine: &Listed,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let Some(id) = sandbox_of(app) else {
        return Ok(false);
    };
    let mut tx = platform.store.begin().await?;
    let Some(sandbox) = tx.sandbox(id).await? else {
        return Ok(false);
    };
    if sandbox.parts.machine.is_some() {
        return Ok(false);
    }
    let (pool, mut parts) = (sandbox.pool, sandbox.parts.clone());
    parts.app = Some(app.to_owned());
    parts.machine = Some(machine.machine.clone());
    parts.machine_version = Some(machine.version.clone());
    let Ok(learned) = sandbox.learn(parts) else {
        return Ok(false);
    };
    tracing::warn!(sandbox.id = %id, "Taking a machine on whose creation was never answered");
    tx.apply_sandbox(learned, now).await?;
    tx.enqueue(Step::Provision { sandbox: id }, &pool.to_string(), now)
        .await?;
    tx.forget_sighting(Sighting::Unlearned, app).await?;
    tx.commit().await?;
    Ok(true)
}

/// Replaces a sandbox whose machine is gone, once the provider says so of this very machine.
async fn replace(
    platform: &Platform,
    held: &Standing,
    now: DateTime<Utc>,
) -> Result<bool, ReconcileError> {
    match platform.provider.presence(&held.app, &held.machine).await {
        Ok(Presence::Gone) => {}
        Ok(Presence::There) => {
            forget(platform, Sighting::Vanished, &held.app).await?;
            return Ok(false);
        }
        Err(error) => {
            tracing::warn!(app = held.app, %error, "Could not ask for a machine that is not listed");
            return Ok(false);
        }
    }
    let reason = "its machine vanished";
    let mut tx = platform.store.begin().await?;
    let Some(sandbox) = tx.sandbox(held.sandbox).await? else {
        return Ok(false);
    };
    let holder = match sandbox.state {
        SandboxState::Ready => None,
        SandboxState::Claimed { investigation } => tx.investigation(investigation).await?,
        SandboxState::Planned
        | SandboxState::Provisioning
        | SandboxState::Retiring { .. }
        | SandboxState::Gone { .. } => return Ok(false),
    };
    tracing::warn!(sandbox.id = %held.sandbox, state = held.state, "A machine vanished");
    let run = holder
        .as_ref()
        .and_then(|holder| holder.state.run())
        .filter(|run| run.sandbox == held.sandbox);
    match (holder, run) {
        (Some(resting), Some(_)) if matches!(resting.state, State::Resting(_)) => {
            conclude(&mut tx, resting, now).await?;
        }
        (Some(working), Some(run)) => {
            drop(tx);
            lost::replace(platform, working.id, run.epoch, reason).await?;
            forget(platform, Sighting::Vanished, &held.app).await?;
            return Ok(true);
        }
        (Some(_) | None, _) => release(&mut tx, held.sandbox, reason, now).await?,
    }
    tx.forget_sighting(Sighting::Vanished, &held.app).await?;
    tx.commit().await?;
    Ok(true)
}

async fn forget(platform: &Platform, kind: Sighting, app: &str) -> Result<(), StoreError> {
    let mut tx = platform.store.begin().await?;
    tx.forget_sighting(kind, app).await?;
    tx.commit().await
}
