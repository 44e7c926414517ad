//! One run: load and faults, then quiet, then the questions.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nightshift_stack::Stack;
use tokio::{task::JoinSet, time};

use crate::{
    audit::Audit,
    faults::{self, Done},
    load::{self, Sent},
    outcome::Outcome,
    plan,
    receiver::Receiver,
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
    /// What no invocation may exceed, if not the functions' own limits: a killed one's messages are back six
    /// times that later.
    pub longest: Option<Duration>,
}

impl Chaos {
    /// Runs, and tells now and then how it goes. Fails only where there was nothing to judge.
    pub async fn run(self, tell: impl Fn(&str)) -> Result<Outcome> {
        let sweep = self.sweep.as_secs().to_string();
        tell("starting a stack of functions");
        let mut arguments = vec![
            "--lambda",
            "--side-by-side",
            "--sweep-seconds",
            &sweep,
            "--pool",
            "3",
            "--max-sandboxes",
            "12",
            "--rest-seconds",
            "3",
        ];
        let longest = self.longest.map(|longest| longest.as_secs().to_string());
        if let Some(longest) = &longest {
            arguments.extend(["--function-seconds", longest]);
        }
        let stack = Arc::new(Stack::up(&arguments)?);
        let url = stack.file()?["database"]
            .as_str()
            .context("no database")?
            .to_owned();
        let receiver = Receiver::open().await?;
        let audit = Audit::begin(url, &receiver.url).await?;
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
        let taken = receiver.taken();
        for settled in audit.delivered().await? {
            if !taken.contains(&settled) {
                violations.push(format!("a report never came: {settled}"));
            }
        }
        let figures = audit.figures().await?;
        let recoveries = faults::recoveries(&stack)?;
        let versions = versions(&stack)?;
        let ended = Arc::into_inner(stack).context("somebody still uses the stack")?;
        violations.extend(end(ended, !violations.is_empty(), &tell).await?);
        Ok(Outcome {
            alerts: sent.len(),
            done,
            recoveries,
            versions,
            old_steps: figures.old_steps,
            violations,
            figures,
            refused: sent.iter().map(|sent| sent.refused).sum(),
            repeated_reports: receiver.repeats(),
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

/// Invocations that functions of the version before took, and those of this one, by their logs.
fn versions(stack: &Stack) -> Result<(usize, usize)> {
    let (mut before, mut new) = (0, 0);
    for entry in fs::read_dir(stack.local().join("logs/functions"))? {
        let log = fs::read(entry?.path())?;
        for line in String::from_utf8_lossy(&log).lines() {
            if line.starts_with("START ") {
                before += usize::from(line.ends_with("Version: 1"));
                new += usize::from(line.ends_with("Version: 2"));
            }
        }
    }
    Ok((before, new))
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
