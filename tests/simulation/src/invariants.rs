//! What is true after every commit, whoever made it and whatever went wrong before.
//!
//! Commits are made one at a time, so what lies between two looks at the database is exactly one commit, and
//! who made it is known.

mod order;
mod rows;

use std::collections::HashMap;

use chrono::TimeDelta;
use nightshift_domain::{investigation, sandbox};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    cell::Identity,
    core::Core,
    snapshot::{InvestigationRow, SandboxRow, Snapshot},
};

/// One commit.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The database before it.
    pub before: &'a Snapshot,
    /// The database after it.
    pub after: &'a Snapshot,
    /// The database when its transaction began.
    pub begun: &'a Snapshot,
    /// The database when its transaction had decided.
    pub decided: &'a Snapshot,
    /// On whose word it was made, if an agent's.
    pub identity: Option<Identity>,
}

/// At which step each start of a sandbox was granted.
pub type Grants = HashMap<(Uuid, i64), usize>;

impl Commit<'_> {
    /// Notes what it changed.
    pub fn tell(&self, core: &mut Core) {
        for row in &self.after.investigations {
            let before = self.before.investigation(row.id).map(InvestigationRow::at);
            if before.as_ref() != Some(&row.at()) {
                let before = before.unwrap_or_default();
                let why = row.reason.as_deref().unwrap_or_default();
                let id = row.id.simple();
                core.note(&format!("  = inv_{id} {before} -> {} {why}", row.at()));
            }
        }
        for row in &self.after.sandboxes {
            let before = self.before.sandbox(row.id);
            if before.map(|row| (&row.state, row.epoch)) != Some((&row.state, row.epoch)) {
                let before = before.map(|row| row.state.as_str()).unwrap_or_default();
                let (id, epoch) = (row.id.simple(), row.epoch);
                let why = row.reason.as_deref().unwrap_or_default();
                core.note(&format!(
                    "  = sbx_{id} {before} -> {}@{epoch} {why}",
                    row.state
                ));
            }
        }
        let new = |row: &&crate::snapshot::OutboxRow| {
            !self.before.outbox.iter().any(|known| known.id == row.id)
        };
        for row in self.after.outbox.iter().filter(new) {
            core.note(&format!("  = outbox {} {}", row.id, row.payload["step"]));
        }
    }

    /// Holds every invariant against it.
    pub fn judge(&self, core: &mut Core, grants: &mut Grants) {
        let mut broken = Vec::new();
        self.rows(&mut broken);
        self.order(core, &mut broken);
        self.starts(core, grants, &mut broken);
        self.numbers(core, &mut broken);
        self.deadlines(core, &mut broken);
        self.questions(core, &mut broken);
        for what in broken {
            core.violate(&what);
        }
    }

    /// I4: a start that was called has booted the machine since it was granted.
    fn starts(&self, core: &Core, grants: &mut Grants, broken: &mut Vec<String>) {
        for row in &self.after.investigations {
            let (Some(sandbox), Some(epoch)) = (row.sandbox_id, row.epoch) else {
                continue;
            };
            let was = self.before.investigation(row.id);
            let moved = was.is_none_or(|was| was.state != row.state || was.epoch != row.epoch);
            if !moved {
                continue;
            }
            if row.state == "claimed" {
                grants.insert((sandbox, epoch), core.step);
            }
            let granted = grants.get(&(sandbox, epoch)).copied();
            // A first start may find the machine running: whoever made it was slow, and booted it once
            // more. A later one stops whatever runs.
            if row.state == "starting"
                && epoch > 1
                && let Some(granted) = granted
                && let app = format!("ns-{}", sandbox.simple())
                && core
                    .cloud
                    .last_boot(&app)
                    .is_some_and(|boot| boot < granted)
            {
                broken.push(format!(
                    "I4: {app} counts as started at {epoch}, but last booted before that was granted"
                ));
            }
        }
    }

    /// I8: no more sandboxes than there may be.
    fn numbers(&self, core: &Core, broken: &mut Vec<String>) {
        let live = self.after.sandboxes.len() - self.after.count(&["gone"]);
        let max = usize::try_from(core.scenario.max_sandboxes).unwrap_or_default();
        if live > max {
            broken.push(format!("I8: {live} sandboxes are live, {max} may be"));
        }
        let known = |row: &&SandboxRow| self.before.sandbox(row.id).is_some();
        let planned = self
            .after
            .sandboxes
            .iter()
            .filter(|row| !known(row))
            .count();
        let current = self.after.sandboxes.iter().filter(|row| {
            Some(row.generation) == self.after.generation
                && matches!(row.state.as_str(), "ready" | "planned" | "provisioning")
        });
        let coming = current.count();
        let waiting = [self.begun, self.decided].map(|seen| seen.waiting().count());
        let wanted = core.most_wanted + waiting.into_iter().max().unwrap_or_default();
        if planned > 0 && coming > wanted {
            broken.push(format!(
                "I8: {planned} were planned, so that {coming} are ready or coming; {wanted} are wanted"
            ));
        }
    }

    /// I3: nobody rests beside a question, unless the step that looks for questions is still to come.
    fn questions(&self, core: &Core, broken: &mut Vec<String>) {
        for row in &self.after.investigations {
            if row.state != "resting" || !self.after.unanswered.contains_key(&row.id) {
                continue;
            }
            let id = format!("inv_{}", row.id.simple());
            let looks = |body: &Value| {
                let step = &body["step"];
                step["kind"] == "rest" && step["investigation"] == id.as_str()
            };
            let waits = self.after.outbox.iter().any(|row| looks(&row.payload));
            if !waits && !core.queues.hold(looks) {
                broken.push(format!(
                    "I3: {id} rests beside a question, and nobody looks"
                ));
            }
        }
    }

    /// I10: whatever is not at its end is looked at in time.
    fn deadlines(&self, core: &Core, broken: &mut Vec<String>) {
        for row in &self.after.investigations {
            let patience = patience(row, core.scenario.rest_for);
            let over = row.deadline_at.map(|at| at - core.now);
            if row.is_over() {
                continue;
            }
            if over.is_none_or(|over| over > patience) {
                let id = row.id.simple();
                broken.push(format!("I10: inv_{id} is {} without a deadline", row.state));
            }
        }
        for row in &self.after.sandboxes {
            let over = row.deadline_at.map(|at| at - core.now);
            if row.state != "gone" && over.is_none_or(|over| over > longest(row)) {
                let id = row.id.simple();
                broken.push(format!("I10: sbx_{id} is {} without a deadline", row.state));
            }
        }
    }
}

fn patience(row: &InvestigationRow, rest_for: TimeDelta) -> TimeDelta {
    match row.state.as_str() {
        "queued" => investigation::QUEUE_PATIENCE,
        "claimed" => investigation::CLAIM_PATIENCE,
        "starting" => investigation::START_PATIENCE,
        "working" => investigation::HEARTBEAT_PATIENCE,
        _ => rest_for,
    }
}

fn longest(row: &SandboxRow) -> TimeDelta {
    match row.state.as_str() {
        // It may be put off for as long as the provider asks us to wait.
        "planned" => sandbox::PLAN_PATIENCE + TimeDelta::minutes(10),
        "provisioning" => sandbox::PROVISION_PATIENCE,
        "ready" => sandbox::READY_PATIENCE,
        "claimed" => sandbox::CLAIMED_PATIENCE,
        _ => sandbox::RETIRE_PATIENCE,
    }
}
