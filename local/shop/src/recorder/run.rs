//! A shop in the hands of whoever tells a story with it: it commits, deploys, switches and scrapes.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::Client;

use super::{
    Pace, alert, collect, database,
    fleet::{Fleet, Release},
    history::History,
    rule::Evaluation,
    scenario::{Action, Scenario},
    topology::SERVICES,
};
use crate::{
    clock,
    progress::say,
    recording::{Alert, Deploy, FlagFlip, MetricRow},
    telemetry::metrics::{self, Sample},
};

/// The shop and what was noted about it.
pub(super) struct Run {
    pub(super) fleet: Fleet,
    pub(super) history: History,
    database: Client,
    deployed: BTreeMap<String, String>,
    pub(super) metrics: Vec<MetricRow>,
    pub(super) deploys: Vec<Deploy>,
    pub(super) flags: Vec<FlagFlip>,
}

impl Run {
    /// Starts the database, the provider and the repository; no service yet.
    pub(super) async fn start(dir: &Path, sample: f64) -> anyhow::Result<Self> {
        let fleet = Fleet::start(dir, sample).await?;
        let repository = dir.join(format!("repository-{}", std::process::id()));
        Ok(Self {
            database: fleet.cluster().connect().await?,
            history: History::begin(&repository, clock::now()).await?,
            fleet,
            deployed: BTreeMap::new(),
            metrics: Vec::new(),
            deploys: Vec::new(),
            flags: Vec::new(),
        })
    }

    /// Goes through the story until some time after its alert.
    pub(super) async fn tell(
        &mut self,
        scenario: &Scenario,
        pace: Pace,
    ) -> anyhow::Result<(Alert, (DateTime<Utc>, DateTime<Utc>))> {
        let starts_at = clock::now();
        let onset = starts_at + seconds(scenario.onset() / pace.haste);
        let mut steps = scenario.steps.iter().peekable();
        let mut rule = Evaluation::new(scenario.rule, pace.minute, pace.minute);
        let mut alert: Option<Alert> = None;
        let mut tick = tokio::time::interval(pace.scrape);
        loop {
            tick.tick().await;
            while let Some(step) =
                steps.next_if(|step| starts_at + seconds(step.at / pace.haste) <= clock::now())
            {
                self.act(step.action).await?;
            }
            let now = clock::now();
            let watched = self.scrape(now, scenario.rule.service).await?;
            let fired = rule.scraped(now, &watched);
            if let (None, Some(observed)) = (&alert, fired) {
                if now < onset {
                    bail!(
                        "the alert fired before its cause came ({observed:.3}): is the machine busy?"
                    );
                }
                say(&format!(
                    "alert: {} at {observed:.3}",
                    scenario.rule.monitor
                ));
                alert = Some(alert::fired(scenario, now, observed));
            }
            match &alert {
                Some(alert) if now - alert.fired_at >= pace.after => {
                    return Ok((alert.clone(), (starts_at, now)));
                }
                None if now - onset > pace.patience => {
                    bail!(
                        "no alert although its cause came: at {:?} now",
                        rule.value()
                    );
                }
                Some(_) | None => {}
            }
        }
    }

    async fn act(&mut self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::Commit(plan) => {
                let commit = self.history.commit(plan, clock::now()).await?;
                say(&format!(
                    "commit {} {}: {}",
                    &commit[..10],
                    plan.author,
                    plan.message
                ));
            }
            Action::Deploy(service) => self.deploy(service).await?,
            Action::Flag {
                service,
                flag,
                on,
                by,
            } => {
                say(&format!("flag {flag} of {service}: {on}"));
                self.fleet.flip(service, flag, on).await?;
                self.flags.push(FlagFlip {
                    at: clock::now(),
                    flag: flag.to_owned(),
                    service: Some(service.to_owned()),
                    from: (!on).into(),
                    to: on.into(),
                    by: by.to_owned(),
                });
            }
            Action::Provider(behaviour) => {
                say(&format!("provider: {behaviour:?}"));
                self.fleet.provider(behaviour).await?;
            }
        }
        Ok(())
    }

    /// Deploys the newest commit to a service.
    pub(super) async fn deploy(&mut self, service: &str) -> anyhow::Result<()> {
        let commit = self.history.head().to_owned();
        let number = self
            .deploys
            .iter()
            .filter(|deploy| deploy.service == service)
            .count();
        let version = format!("{service}-{}", 41 + number);
        let sources = self.history.sources();
        let release = Release {
            version: version.clone(),
            commit: commit.clone(),
            sources,
        };
        let at = clock::now();
        self.fleet
            .deploy(service, &release)
            .await
            .with_context(|| format!("deploying {service}"))?;
        say(&format!("deployed {version} at {}", &commit[..10]));
        let previous = self.deployed.insert(service.to_owned(), commit.clone());
        let service = service.to_owned();
        self.deploys.push(Deploy {
            at,
            service,
            commit,
            previous,
            version,
        });
        Ok(())
    }

    /// Scrapes everything; returns what `watched` answered.
    async fn scrape(&mut self, now: DateTime<Utc>, watched: &str) -> anyhow::Result<Vec<Sample>> {
        let mut answer = Vec::new();
        for service in SERVICES {
            // A scrape that fails is a gap, as with every scraper.
            let Ok(text) = self.fleet.metrics(service).await else {
                continue;
            };
            let samples = metrics::parse(&text);
            self.metrics.extend(collect::rows(service, now, &samples));
            if service == watched {
                answer = samples;
            }
        }
        let samples = database::metrics(&self.database).await?;
        self.metrics
            .extend(collect::rows("inventory-db", now, &samples));
        Ok(answer)
    }
}

fn seconds(seconds: u64) -> TimeDelta {
    TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1000))
}
