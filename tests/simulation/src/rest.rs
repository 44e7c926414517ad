//! What is true once faults have stopped: first of what the steps bring about by themselves, then, with the
//! sweep, of everything.

use std::collections::BTreeSet;

use crate::{
    core::Core,
    snapshot::{SandboxRow, Snapshot},
};

/// Every step was carried out and the sweep did not help: nothing that a step should have brought on
/// lies about.
#[must_use]
pub fn without_the_net(core: &Core, seen: &Snapshot) -> Vec<String> {
    let mut broken = unfinished(core, seen);
    if core.cloud.was_late {
        return broken;
    }
    let kept: BTreeSet<String> = known(seen);
    for orphan in core.cloud.apps() {
        // Its maker stood still while the sandbox was used up, and dies now: no step knows of it any more, only
        // reconciliation does. `at_last` asks whether that took it.
        let only_reconciliation = core.cloud.revived.contains(orphan);
        if !kept.contains(orphan) && !only_reconciliation {
            broken.push(format!("I9: {orphan} exists and nobody knows"));
        }
    }
    broken
}

fn unfinished(core: &Core, seen: &Snapshot) -> Vec<String> {
    let mut broken = Vec::new();
    for row in &seen.investigations {
        if row.state == "resting" && seen.unanswered.contains_key(&row.id) {
            let id = row.id.simple();
            broken.push(format!(
                "I3: inv_{id} rests beside a question, and no step wakes it"
            ));
        }
        if row.state == "claimed" {
            let id = row.id.simple();
            broken.push(format!(
                "I10: inv_{id} is {}, and no step starts it",
                row.at()
            ));
        }
    }
    for row in &seen.sandboxes {
        if matches!(row.state.as_str(), "planned" | "provisioning" | "retiring") {
            let id = row.id.simple();
            broken.push(format!(
                "I10: sbx_{id} is {}, and no step goes on with it",
                row.state
            ));
        }
    }
    let room = |ticket: &&crate::snapshot::TicketRow| {
        seen.running(ticket.tenant_id) < core.limit_of(ticket.tenant_id.into())
    };
    let waits = seen.waiting().filter(room).count();
    let ready = seen.count(&["ready"]);
    if waits > 0 && ready > 0 {
        broken.push(format!("I3: {waits} wait beside {ready} ready sandboxes"));
    }
    let live = seen.sandboxes.len() - seen.count(&["gone"]);
    let max = usize::try_from(core.scenario.max_sandboxes).unwrap_or_default();
    if waits > 0 && ready == 0 && live < max {
        broken.push(format!(
            "I3: {waits} wait, there is room, and nobody makes a sandbox"
        ));
    }
    broken
}

/// Everything came to its end.
pub fn at_last(core: &Core, seen: &Snapshot) -> Vec<String> {
    let mut broken = unfinished(core, seen);
    for row in &seen.investigations {
        if !row.is_over() {
            let id = row.id.simple();
            broken.push(format!("I3: inv_{id} never ends; it is {}", row.at()));
        }
    }
    if core.answered.contains(&false) {
        broken.push("I3: a delivery is never answered".to_owned());
    }
    if !seen.outbox.is_empty() || !core.queues.are_empty() {
        broken.push("I10: steps are left".to_owned());
    }
    let known = known(seen);
    let there: BTreeSet<String> = core.cloud.apps().into_iter().map(str::to_owned).collect();
    for ghost in known.difference(&there) {
        broken.push(format!("I9: {ghost} is in the database only"));
    }
    for orphan in there.difference(&known) {
        if !core.cloud.was_late {
            broken.push(format!("I9: {orphan} is at the provider only"));
        }
    }
    broken
}

/// Whether everything came to its end.
pub fn is_over(core: &Core, seen: &Snapshot) -> bool {
    !core.answered.contains(&false)
        && seen.outbox.is_empty()
        && core.queues.are_empty()
        && seen
            .investigations
            .iter()
            .all(super::snapshot::InvestigationRow::is_over)
        && seen
            .sandboxes
            .iter()
            .all(|row| matches!(row.state.as_str(), "ready" | "gone"))
}

fn app(row: &SandboxRow) -> String {
    format!("ns-{}", row.id.simple())
}

/// The apps of the sandboxes that we know and that are not gone.
fn known(seen: &Snapshot) -> BTreeSet<String> {
    let kept = seen.sandboxes.iter().filter(|row| row.state != "gone");
    kept.map(app).collect()
}
