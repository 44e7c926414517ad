//! Rows that must agree with one another, and the moves they may make: I1, I2, I3, I5.

use super::Commit;
use crate::snapshot::{InvestigationRow, SandboxRow};

/// The moves of an investigation; where the epoch grows it is a new start.
const MOVES: [(&str, &str); 18] = [
    ("queued", "claimed"),
    ("claimed", "starting"),
    ("claimed", "working"),
    ("starting", "working"),
    ("working", "resting"),
    ("claimed", "claimed"),
    ("starting", "claimed"),
    ("working", "claimed"),
    ("resting", "claimed"),
    ("claimed", "queued"),
    ("starting", "queued"),
    ("working", "queued"),
    ("resting", "concluded"),
    ("queued", "failed"),
    ("claimed", "failed"),
    ("starting", "failed"),
    ("working", "failed"),
    ("resting", "failed"),
];

/// The moves of a sandbox.
const SANDBOX_MOVES: [(&str, &str); 8] = [
    ("planned", "provisioning"),
    ("provisioning", "ready"),
    ("ready", "claimed"),
    ("planned", "retiring"),
    ("provisioning", "retiring"),
    ("ready", "retiring"),
    ("claimed", "retiring"),
    ("retiring", "gone"),
];

impl Commit<'_> {
    pub(super) fn rows(&self, broken: &mut Vec<String>) {
        for row in &self.after.investigations {
            self.holds_its_sandbox(row, broken);
            self.has_its_ticket(row, broken);
            if let Some(was) = self.before.investigation(row.id) {
                self.moved(was, row, broken);
            }
        }
        for row in &self.after.sandboxes {
            self.is_held(row, broken);
            if let Some(was) = self.before.sandbox(row.id) {
                sandbox_moved(was, row, broken);
            }
        }
        self.nothing_is_lost(broken);
        self.reports_stay(broken);
    }

    /// I1 and I2, from the investigation's side.
    fn holds_its_sandbox(&self, row: &InvestigationRow, broken: &mut Vec<String>) {
        let Some(sandbox) = row.sandbox_id else {
            return;
        };
        let held = self.after.sandbox(sandbox).is_some_and(|held| {
            held.state == "claimed"
                && held.investigation_id == Some(row.id)
                && Some(held.epoch) == row.epoch
        });
        if !held {
            let id = row.id.simple();
            broken.push(format!("I1: inv_{id} is {}, which is not its", row.at()));
        }
    }

    /// I1 and I2, from the sandbox's side.
    fn is_held(&self, row: &SandboxRow, broken: &mut Vec<String>) {
        if row.state != "claimed" {
            return;
        }
        let holders = self.after.investigations.iter();
        let holders = holders
            .filter(|holder| holder.sandbox_id == Some(row.id))
            .count();
        if holders != 1 {
            broken.push(format!(
                "I1: {holders} investigations hold sbx_{}, which is claimed",
                row.id.simple()
            ));
        }
    }

    /// I3: who is queued has a ticket that waits, and nobody else has.
    fn has_its_ticket(&self, row: &InvestigationRow, broken: &mut Vec<String>) {
        let ticket = self
            .after
            .ticket(row.id)
            .map(|ticket| ticket.state.as_str());
        if (row.state == "queued") != (ticket == Some("waiting")) {
            broken.push(format!(
                "I3: inv_{} is {}, its ticket is {}",
                row.id.simple(),
                row.state,
                ticket.unwrap_or("lost")
            ));
        }
    }

    /// I5: starts are counted upwards, and only the start that works changes anything by its own word.
    fn moved(&self, was: &InvestigationRow, row: &InvestigationRow, broken: &mut Vec<String>) {
        let id = row.id.simple();
        let step = (was.state.as_str(), row.state.as_str());
        let again = was.state != row.state || was.epoch != row.epoch;
        let started = row.state == "claimed" && again;
        if (was.state != row.state || started) && !MOVES.contains(&step) {
            broken.push(format!("inv_{id} moved from {} to {}", was.at(), row.at()));
        }
        let known = row
            .sandbox_id
            .and_then(|sandbox| self.before.sandbox(sandbox));
        let known = known.map(|sandbox| sandbox.epoch);
        if started && row.epoch <= known {
            let at = row.at();
            broken.push(format!("I5: inv_{id} is {at}, a start that is not new"));
        }
        if !started && was.sandbox_id == row.sandbox_id && was.epoch != row.epoch {
            broken.push(format!(
                "I5: inv_{id} went from {} to {}",
                was.at(),
                row.at()
            ));
        }
        let Some(identity) = self.identity else {
            return;
        };
        if was.version != row.version
            && identity.investigation.as_uuid() == row.id
            && (was.epoch != Some(identity.epoch.0)
                || was.sandbox_id != Some(identity.sandbox.as_uuid()))
        {
            broken.push(format!(
                "I5: a zombie of {} changed inv_{id}, which is {}",
                identity.epoch,
                was.at()
            ));
        }
    }

    /// I3: what was accepted stays, and a ticket keeps its place.
    fn nothing_is_lost(&self, broken: &mut Vec<String>) {
        for was in &self.before.investigations {
            if self.after.investigation(was.id).is_none() {
                broken.push(format!("I3: inv_{} is gone", was.id.simple()));
            }
        }
        for was in &self.before.sandboxes {
            if self.after.sandbox(was.id).is_none() {
                broken.push(format!("I9: sbx_{} is forgotten", was.id.simple()));
            }
        }
        for was in &self.before.tickets {
            let now = self
                .after
                .ticket(was.investigation_id)
                .map(|ticket| ticket.place);
            if now != Some(was.place) {
                broken.push(format!(
                    "I6: the ticket of inv_{} was at {} and is at {now:?}",
                    was.investigation_id.simple(),
                    was.place
                ));
            }
        }
        if self.after.alerts < self.before.alerts {
            broken.push("I3: an alert is gone".to_owned());
        }
    }

    /// I5: a report is replaced by a later start only.
    fn reports_stay(&self, broken: &mut Vec<String>) {
        for was in &self.before.reports {
            let theirs =
                |now: &&crate::snapshot::ReportRow| now.investigation_id == was.investigation_id;
            let now = self.after.reports.iter().find(theirs);
            if now.is_none_or(|now| now != was && now.epoch <= was.epoch) {
                let id = was.investigation_id.simple();
                broken.push(format!(
                    "I5: the report of inv_{id} was replaced by an older start"
                ));
            }
        }
    }
}

fn sandbox_moved(was: &SandboxRow, row: &SandboxRow, broken: &mut Vec<String>) {
    let id = row.id.simple();
    let step = (was.state.as_str(), row.state.as_str());
    if was.state != row.state && !SANDBOX_MOVES.contains(&step) {
        broken.push(format!(
            "sbx_{id} moved from {} to {}",
            was.state, row.state
        ));
    }
    if row.epoch < was.epoch || row.attested_epoch < was.attested_epoch {
        broken.push(format!(
            "I5: the epoch of sbx_{id} fell from {} to {}",
            was.epoch, row.epoch
        ));
    }
    let kept = |was: &Option<String>, now: &Option<String>| was.is_none() || was == now;
    if !kept(&was.app, &row.app) || !kept(&was.machine, &row.machine) {
        broken.push(format!("I9: sbx_{id} forgot a part of itself"));
    }
}
