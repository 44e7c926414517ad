//! What came of a run.

use std::{collections::BTreeMap, time::Duration};

use crate::{audit::Figures, faults::Done};

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Alerts that were accepted.
    pub alerts: usize,
    /// What was done to it.
    pub done: Done,
    /// How often the database found that it had not been shut down in order.
    pub recoveries: usize,
    /// Invocations that functions of the version before took, and those of this one.
    pub versions: (usize, usize),
    /// Steps that the version before wrote.
    pub old_steps: i64,
    /// What must not be.
    pub violations: Vec<String>,
    pub(crate) figures: Figures,
    pub(crate) refused: usize,
    pub(crate) repeated_reports: usize,
    pub(crate) settled_after: Duration,
}

impl Outcome {
    /// The figures for people; the last line is the verdict.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let ends: Vec<String> = self
            .figures
            .ends
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let (done, figures) = (&self.done, &self.figures);
        let mut lines = vec![
            format!(
                "investigations: {}; {} reports, {} restarts",
                ends.join(", "),
                figures.reports,
                figures.restarts
            ),
            format!("sandboxes made: {}", figures.sandboxes),
            format!(
                "webhooks refused and sent again: {}; reports that came once more: {}",
                self.refused, self.repeated_reports
            ),
            format!("killed at work: {}", counts(&done.busy)),
            format!("killed while frozen: {}", counts(&done.frozen)),
            format!(
                "database stopped at once: {} times, gone for {:.1} s, recovered {} times",
                done.database,
                done.database_gone.as_secs_f64(),
                self.recoveries
            ),
            format!(
                "machines' server: killed {} times and gone for {:.1} s, hung for {:.1} s",
                done.machines,
                done.machines_gone.as_secs_f64(),
                done.machines_hung.as_secs_f64()
            ),
            format!(
                "side by side: {} invocations of the version before, which wrote {} steps, and {} of this one",
                self.versions.0, self.old_steps, self.versions.1
            ),
            format!(
                "everything at its end {:.0} s after the last fault",
                self.settled_after.as_secs_f64()
            ),
        ];
        lines.extend(
            self.violations
                .iter()
                .map(|violation| format!("VIOLATION {violation}")),
        );
        let (alerts, kills, violations) = (self.alerts, done.kills(), self.violations.len());
        lines.push(format!(
            "{alerts} alerts, {kills} kills, {violations} violations"
        ));
        lines
    }
}

/// `7: claim 4, sweep 3`.
fn counts(of: &BTreeMap<&'static str, usize>) -> String {
    let all: usize = of.values().sum();
    let each: Vec<String> = of
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    format!("{all}: {}", each.join(", "))
}
