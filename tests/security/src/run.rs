//! Tries attacks, each in a process of its own: what is switched off there is on everywhere else.

use std::{
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, stream};
use nightshift_controls::{Control, WITHOUT};
use tokio::process::Command;

use crate::{
    attacks,
    case::{Attack, Case, Outcome},
    cli::{self, Without},
    database::{TEMPLATE, Template},
};

/// How long an attack may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Attacks at once.
const AT_ONCE: usize = 3;

/// An attack that was tried.
pub(crate) struct Try {
    pub(crate) case: Case,
    pub(crate) without: Vec<Control>,
    /// How it ended; an error where it could not be tried as it should.
    pub(crate) ended: Result<Outcome>,
    pub(crate) took: Duration,
}

/// Tries all of these.
pub(crate) async fn all(cases: &[Case], without: &Without) -> Result<Vec<Try>> {
    let template = Template::make().await?;
    let name = template.name.clone();
    let tries = stream::iter(cases.iter().copied())
        .map(|case| {
            let (off, name) = (without.for_case(&case), name.clone());
            async move {
                let began = Instant::now();
                let ended = match case.attack {
                    Attack::NotHere(why) => Ok(Outcome::Skipped(why.to_owned())),
                    Attack::Tried(_) => apart(&case, &off, &name).await,
                };
                Try {
                    case,
                    without: off,
                    ended,
                    took: began.elapsed(),
                }
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    template.drop().await?;
    Ok(tries)
}

/// Tries one in another process.
async fn apart(case: &Case, off: &[Control], template: &str) -> Result<Outcome> {
    let names: Vec<&str> = off.iter().map(|control| control.name()).collect();
    let trying = Command::new(std::env::current_exe()?)
        .args(["--one", case.name])
        .env(TEMPLATE, template)
        .env(WITHOUT, names.join(","))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, trying)
        .await
        .context("it takes too long")??;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = why.lines().filter(|line| !line.is_empty()).collect();
        let end = &lines[lines.len().saturating_sub(3)..];
        bail!("it could not be tried: {}", end.join(" | "));
    }
    serde_json::from_str(last).with_context(|| format!("it ended with `{last}`"))
}

/// Tries one in this process and says how it ended.
pub(crate) async fn one(name: &str) -> Result<ExitCode> {
    let case = attacks::all().into_iter().find(|case| case.name == name);
    let case = case.context("there is no such attack")?;
    let outcome = match case.attack {
        Attack::Tried(attack) => attack().await?,
        Attack::NotHere(why) => Outcome::Skipped(why.to_owned()),
    };
    cli::say(&serde_json::to_string(&outcome)?);
    Ok(ExitCode::SUCCESS)
}
