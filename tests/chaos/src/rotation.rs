//! One key of run tokens follows another, from its announcement to the old one's removal, while runs are
//! live and what they stand on is killed: no run may be lost, and nothing refused that should pass.
//!
//! The runs are held at work by a stand-in for the model's provider that has them look around, and only then
//! leads them to their reports.

mod ends;
mod keys;
mod model;
mod outcome;
mod refusals;
mod strikes;

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use nightshift_stack::{Setup, Stack};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

use self::{ends::Ends, model::Model, refusals::Refusals};
use crate::load;

pub use model::Model as HeldModel;
pub use outcome::{RotationOutcome, Struck};

/// How long a key stays published beyond the last token that it signed.
const MARGIN: Duration = Duration::from_mins(1);
/// How long servers go on with the keys that they have fetched, while they are asked; and a little.
const KEYS_KEPT: Duration = Duration::from_secs(65);
/// How long all runs may take to be at work, and to end.
const PATIENCE: Duration = Duration::from_mins(8);
/// Turns in which the model only has an agent look around: far fewer than a run may have.
const TURNS: u32 = 40;

/// A rotation under live runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Runs that are live at once.
    pub runs: usize,
    /// How long tokens live.
    pub life: Duration,
    /// How long the next key is published before it signs.
    pub lead: Duration,
    /// What is done wrong on purpose.
    pub plant: Option<Plant>,
}

/// What can be done wrong on purpose, to see that it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// The next key takes the place of the one before at once.
    DropOldKey,
}

impl Rotation {
    /// From the announcement until no server knows the old key any more.
    #[must_use]
    pub fn takes(&self) -> Duration {
        self.lead + self.life + MARGIN + KEYS_KEPT
    }

    /// Runs it, and tells how it goes. Fails only where there was nothing to judge.
    pub async fn run(self, tell: impl Fn(&str)) -> Result<RotationOutcome> {
        let model = Model::open((self.takes() + MARGIN) / TURNS).await?;
        tell("starting a stack of functions");
        let setup = self.setup(&model)?;
        let stack = tokio::task::spawn_blocking(move || Stack::with(setup)).await??;
        let stack = Arc::new(stack);
        let wanted = i64::try_from(self.runs)?;
        let filling = Arc::clone(&stack);
        tokio::task::spawn_blocking(move || filling.wait_for_ready(wanted)).await??;
        let ends = Ends::of(&stack)?;

        tell(&format!("sending {} alerts", self.runs));
        self.send(&stack).await?;
        let live = self.all_at_work(&ends, &model).await?;
        tell(&format!("{live} runs are live; the keys are rotated"));
        let began = Instant::now();
        let watched = keys::watch(&stack, self.takes());
        let (published, struck, changed) = tokio::join!(
            watched,
            strikes::strike(&stack, self.takes(), &tell),
            self.change(&stack),
        );
        changed?;
        let after = model.asked_by();
        time::sleep_until(began + self.takes()).await;
        // Nobody knows the old key now; whoever asks has a token by the new one.
        let worked_on = self.all_ask(&model, after).await;
        let live_after = ends.working().await?;
        // Whatever is refused from here on has other reasons.
        let refusals = Refusals::read(&stack, &ends, &model).await?;
        tell("the old key is gone everywhere; the runs may end");
        model.release();
        let runs = self.all_ended(&ends, &tell).await?;
        let outcome = RotationOutcome {
            wanted: self.runs,
            live,
            live_after: usize::try_from(live_after)?,
            worked_on,
            runs,
            published,
            struck: struck?,
            refusals,
            requests: model.requests(),
            asked_again: model.asked_again(),
            took: began.elapsed(),
            left: None,
        };
        let stack = Arc::into_inner(stack).context("somebody still uses the stack")?;
        end(stack, outcome, &tell).await
    }

    fn setup(&self, model: &Model) -> Result<Setup> {
        let text = |text: &str| text.to_owned();
        let arguments = ["--lambda", "--sweep-seconds", "5", "--rest-seconds", "900"];
        let mut arguments: Vec<String> = arguments.map(text).into();
        arguments.extend([text("--pool"), self.runs.to_string()]);
        arguments.extend([text("--max-sandboxes"), (self.runs * 2 + 4).to_string()]);
        Ok(Setup {
            arguments,
            environment: vec![
                ("ANTHROPIC_API_KEY", text("a-key-of-nobody")),
                ("ANTHROPIC_BASE_URL", model.url.clone()),
                ("NIGHTSHIFT_LLM_PROVIDER", text("anthropic")),
            ],
            files: vec![("signing.pem", keys::first(self.life)?)],
        })
    }

    async fn send(&self, stack: &Arc<Stack>) -> Result<()> {
        let mut senders = JoinSet::new();
        for number in 0..self.runs {
            let (key, body) = alert(stack, number)?;
            senders.spawn(load::send_body(Arc::clone(stack), key, body));
            // Each sender is a process.
            time::sleep(Duration::from_millis(100)).await;
        }
        while let Some(sent) = senders.join_next().await {
            sent??;
        }
        Ok(())
    }

    /// Waits until every run has asked the model, which is when it works; returns how many work at once.
    async fn all_at_work(&self, ends: &Ends, model: &Model) -> Result<usize> {
        let began = Instant::now();
        loop {
            let working = usize::try_from(ends.working().await?)?;
            if working >= self.runs && model.asked_by().len() >= self.runs {
                return Ok(working);
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "only {working} of {} runs are at work",
                self.runs
            );
            time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn change(&self, stack: &Arc<Stack>) -> Result<()> {
        let (stack, rotation) = (Arc::clone(stack), *self);
        let changed = move || match rotation.plant {
            None => {
                let lead = rotation.lead.as_secs().to_string();
                stack.program(&["keys", "rotate", "--lead-seconds", &lead])?;
                Ok(())
            }
            Some(Plant::DropOldKey) => keys::replace(&stack, rotation.life),
        };
        tokio::task::spawn_blocking(changed).await?
    }

    /// How many runs ask the model once more than by `before`, within a few turns.
    async fn all_ask(&self, model: &Model, before: model::Asked) -> usize {
        let until = Instant::now() + model.pace * 4 + Duration::from_secs(20);
        loop {
            let now = model.asked_by();
            let more = now
                .iter()
                .filter(|(run, turns)| before.get(*run).is_none_or(|before| before < turns))
                .count();
            if more >= self.runs || Instant::now() > until {
                return more;
            }
            time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn all_ended(&self, ends: &Ends, tell: &impl Fn(&str)) -> Result<Vec<ends::Run>> {
        let began = Instant::now();
        loop {
            let runs = ends.runs().await?;
            let ended = runs.iter().filter(|run| run.has_ended()).count();
            if ended == self.runs || began.elapsed() > PATIENCE {
                return Ok(runs);
            }
            if began.elapsed().as_secs() % 30 == 29 {
                tell(&format!("{ended} of {} runs have ended", self.runs));
            }
            time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// The recorded alerts in turn, each under a name of its own: there is something to find out about each.
fn alert(stack: &Stack, number: usize) -> Result<(String, String)> {
    let recordings = stack.local().join("../local/shop/recordings");
    let mut recorded: Vec<_> = fs::read_dir(&recordings)?
        .filter_map(|entry| Some(entry.ok()?.path().join("alert.json")))
        .filter(|path| path.is_file())
        .collect();
    recorded.sort();
    let path = recorded
        .get(number % recorded.len().max(1))
        .context("there are no recordings")?;
    let mut alert: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let key = format!("rotation-{number}");
    alert["id"] = json!(key);
    Ok((key, alert.to_string()))
}

/// Ends the stack; what it leaves is a violation. Where something was wrong, its folder is kept.
async fn end(
    mut stack: Stack,
    mut outcome: RotationOutcome,
    tell: &impl Fn(&str),
) -> Result<RotationOutcome> {
    if !outcome.violations().is_empty() {
        let kept = stack.keep_folder();
        tell(&format!("its state and logs stay in {}", kept.display()));
    }
    let ended = tokio::task::spawn_blocking(move || stack.end()).await?;
    outcome.left = ended.err().map(|error| format!("{error:#}"));
    Ok(outcome)
}
