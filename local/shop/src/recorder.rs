//! Runs the shop through a story and writes down what its telemetry said.

mod alert;
pub mod collect;
mod database;
pub mod fleet;
pub mod history;
pub mod http;
pub mod live;
pub mod rule;
mod run;
pub mod scenario;
pub mod sources;
pub mod topology;

use std::{fs, path::Path, time::Duration};

use chrono::TimeDelta;

use self::{
    run::Run,
    scenario::{Cause, Scenario},
    topology::SERVICES,
};
use crate::{
    progress::say,
    recording::{Manifest, Recording, Sampled, write_json},
};

/// How long everything takes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Divides the story's times.
    pub haste: u64,
    /// Between two scrapes.
    pub scrape: Duration,
    /// How long the rule looks back, and how long it must hold.
    pub minute: TimeDelta,
    /// How long the window goes on after the alert.
    pub after: TimeDelta,
    /// How long we wait for the alert after the cause came.
    pub patience: TimeDelta,
    /// How long customers are in the shop before the window begins.
    pub warm_up: Duration,
}

impl Pace {
    /// A recording to keep.
    pub const REAL: Self = Self {
        haste: 1,
        scrape: Duration::from_secs(5),
        minute: TimeDelta::seconds(60),
        after: TimeDelta::seconds(120),
        patience: TimeDelta::seconds(600),
        warm_up: Duration::from_secs(25),
    };
    /// A look at whether it works.
    pub const QUICK: Self = Self {
        haste: 10,
        scrape: Duration::from_secs(2),
        minute: TimeDelta::seconds(12),
        after: TimeDelta::seconds(15),
        patience: TimeDelta::seconds(400),
        warm_up: Duration::from_secs(4),
    };
}

/// Share of traces that are kept.
const SAMPLE: f64 = 0.3;

/// Visits that begin in a second.
const VISITS: f64 = 2.3;

/// Runs a story and writes its recording to `out/NAME` and its answer to `expected/NAME.json`.
pub async fn record(
    scenario: &Scenario,
    out: &Path,
    expected: Option<&Path>,
    pace: Pace,
) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("shop-").tempdir()?;
    // The database runs as another user than root and must get through.
    fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    say(&format!(
        "{}: starting the shop in {}",
        scenario.name,
        dir.path().display()
    ));
    let mut run = Run::start(dir.path(), SAMPLE).await?;
    for service in SERVICES {
        run.deploy(service).await?;
    }
    run.fleet.admit(VISITS)?;
    tokio::time::sleep(pace.warm_up).await;

    let told = tokio::select! {
        told = run.tell(scenario, pace) => told,
        () = live::interrupted() => Err(anyhow::anyhow!("interrupted: nothing is written")),
    };
    let (alert, window) = match told {
        Ok(told) => told,
        Err(error) => {
            run.fleet.stop().await?;
            return Err(error);
        }
    };
    say("stopping the shop");
    let telemetry = run.fleet.telemetry_dir();
    run.fleet.stop().await?;
    let recording = Recording {
        manifest: Manifest {
            format: 1,
            name: scenario.name.to_owned(),
            title: scenario.title.to_owned(),
            system: "shop".to_owned(),
            starts_at: window.0,
            alert_at: alert.fired_at,
            ends_at: window.1,
            sampled: Some(Sampled {
                spans: SAMPLE,
                info_logs: SAMPLE,
            }),
        },
        alert,
        logs: collect::logs(&telemetry, window)?,
        metrics: run.metrics,
        spans: collect::spans(&telemetry, window)?,
        topology: topology::topology(),
        commits: run.history.commits().to_vec(),
        files: run.history.files(),
        deploys: run.deploys,
        flags: run.flags,
    };
    let kept = out.join(scenario.name);
    recording.write(&kept)?;
    let (logs, spans) = (recording.logs.len(), recording.spans.len());
    let rows = recording.metrics.len();
    say(&format!(
        "{}: {logs} log lines, {spans} spans, {rows} values",
        kept.display()
    ));
    if let Some(expected) = expected {
        let guilty = match scenario.cause {
            Cause::Commit { plan, .. } => recording
                .commits
                .iter()
                .find(|commit| commit.message == plan.message),
            Cause::Provider => None,
        };
        fs::create_dir_all(expected)?;
        let answer = scenario.expected(guilty.map(|commit| commit.commit.as_str()));
        write_json(&expected.join(format!("{}.json", scenario.name)), &answer)?;
    }
    Ok(())
}
