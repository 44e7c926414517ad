//! One run: load and faults, then quiet, then the questions.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nightshift_stack::Stack;
use tokio::{task::JoinSet, time};

use crate::{
    audit::{Audit, Figures},
    faults::{self, Done},
    load::{self, Sent},
    plan,
};

/// How long everything may take to come to its end once nothing breaks any more. The longest way is a
/// step whose function was killed: it is back six times the function's timeout later.
const PATIENCE: Duration = Duration::from_mins(12);

/// A run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chaos {
    /// How long alerts are sent and parts are killed.
    pub duration: Duration,
    /// What is done, and when.
    pub seed: u64,
    /// Alerts a second.
    pub rate: f64,
    /// How often the functions sweep.
    pub sweep: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Alerts that were accepted.
    pub alerts: usize,
    /// Processes that were killed.
    pub kills: usize,
    /// What must not be.
    pub violations: Vec<String>,
    figures: Figures,
    done: Done,
    refused: usize,
    settled_after: Duration,
}

impl Chaos {
    /// Runs, and tells now and then how it goes. Fails only where there was nothing to judge.
    pub async fn run(self, tell: impl Fn(&str)) -> Result<Outcome> {
        let sweep = self.sweep.as_secs().to_string();
        tell("starting a stack of functions");
        let arguments = [
            "--lambda",
            "--sweep-seconds",
            &sweep,
            "--pool",
            "3",
            "--max-sandboxes",
            "12",
            "--rest-seconds",
            "3",
        ];
        let stack = Arc::new(Stack::up(&arguments)?);
        let url = stack.file()?["database"]
            .as_str()
            .context("no database")?
            .to_owned();
        let audit = Audit::begin(url).await?;
        let mut violations = Vec::new();
        tell(&format!(
            "{} s of alerts and faults",
            self.duration.as_secs()
        ));
        let (sent, done) = tokio::join!(self.send(&stack), self.strike(&stack, &tell));
        let (sent, mut lost) = sent;
        violations.append(&mut lost);
        faults::start_database(Arc::clone(&stack)).await?;
        tell(&format!(
            "{} alerts accepted, {} kills; now nothing breaks any more",
            sent.len(),
            done.kills()
        ));
        let quiet = Instant::now();
        violations.extend(settle(&audit, &tell).await?);
        let settled_after = quiet.elapsed();
        violations.extend(audit.violations().await?);
        for sent in &sent {
            violations.extend(audit.lost(&sent.key).await?);
        }
        let figures = audit.figures().await?;
        let ended = Arc::into_inner(stack).context("somebody still uses the stack")?;
        violations.extend(end(ended, !violations.is_empty(), &tell).await?);
        Ok(Outcome {
            alerts: sent.len(),
            kills: done.kills(),
            violations,
            figures,
            done,
            refused: sent.iter().map(|sent| sent.refused).sum(),
            settled_after,
        })
    }

    /// Sends alerts at the rate, each until it is accepted; tells which were and which never were.
    async fn send(self, stack: &Arc<Stack>) -> (Vec<Sent>, Vec<String>) {
        let mut due = time::interval(Duration::from_secs_f64(1.0 / self.rate));
        let until = Instant::now() + self.duration;
        let mut senders = JoinSet::new();
        let mut number = 0;
        while Instant::now() < until {
            due.tick().await;
            senders.spawn(load::send(Arc::clone(stack), number));
            number += 1;
        }
        let (mut sent, mut lost) = (Vec::new(), Vec::new());
        while let Some(outcome) = senders.join_next().await {
            match outcome
                .map_err(anyhow::Error::from)
                .and_then(|outcome| outcome)
            {
                Ok(accepted) => sent.push(accepted),
                Err(error) => lost.push(format!("an alert was not accepted: {error:#}")),
            }
        }
        (sent, lost)
    }

    /// Does what is planned, each at its time, and waits until all of it is undone.
    async fn strike(self, stack: &Arc<Stack>, tell: &impl Fn(&str)) -> Done {
        let began = time::Instant::now();
        let mut strikes = JoinSet::new();
        for (at, fault) in plan::faults(self.seed, self.duration) {
            time::sleep_until(began + at).await;
            if !matches!(fault, plan::Fault::Instance { .. }) {
                tell(&format!("at {:.1} s: {fault:?}", at.as_secs_f64()));
            }
            strikes.spawn(faults::strike(Arc::clone(stack), fault));
        }
        let mut all = Done::default();
        while let Some(outcome) = strikes.join_next().await {
            match outcome
                .map_err(anyhow::Error::from)
                .and_then(|outcome| outcome)
            {
                Ok(done) => all.add(done),
                Err(error) => tell(&format!("a fault could not be done: {error:#}")),
            }
        }
        all
    }
}

/// Waits until everything is at its end; what is not in time is a violation.
async fn settle(audit: &Audit, tell: &impl Fn(&str)) -> Result<Vec<String>> {
    let began = Instant::now();
    let mut told = Instant::now();
    loop {
        let unfinished = audit.unfinished().await?;
        if unfinished.is_empty() {
            return Ok(Vec::new());
        }
        if began.elapsed() > PATIENCE {
            return Ok(unfinished
                .into_iter()
                .map(|line| format!("did not come to its end: {line}"))
                .collect());
        }
        if told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            let first = unfinished.first().map(String::as_str).unwrap_or_default();
            tell(&format!(
                "{} things are not at their end, such as: {first}",
                unfinished.len()
            ));
        }
        time::sleep(Duration::from_secs(1)).await;
    }
}

/// Ends the stack; what it leaves is a violation. Where something was wrong already, its folder is kept.
async fn end(mut stack: Stack, keep: bool, tell: &impl Fn(&str)) -> Result<Option<String>> {
    if keep {
        tell(&format!(
            "its state and logs stay in {}",
            stack.keep_folder().display()
        ));
    }
    let ended = tokio::task::spawn_blocking(move || stack.end()).await?;
    Ok(ended
        .err()
        .map(|error| format!("something was left over: {error:#}")))
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
            format!("steps written by the version before: {}", figures.old_steps),
            format!("webhooks refused and sent again: {}", self.refused),
            format!(
                "killed: {} instances at work, {} frozen ones, {} others",
                done.busy, done.frozen, done.others
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
        let (alerts, kills, violations) = (self.alerts, self.kills, self.violations.len());
        lines.push(format!(
            "{alerts} alerts, {kills} kills, {violations} violations"
        ));
        lines
    }
}
