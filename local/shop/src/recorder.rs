//! Runs the shop through a story and writes down what its telemetry said.

pub mod collect;
pub mod fleet;
pub mod history;
pub mod http;
pub mod live;
pub mod rule;
pub mod scenario;
pub mod sources;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::Client;

use self::{
    fleet::{Fleet, Release, SERVICES},
    history::History,
    rule::{Evaluation, Watch},
    scenario::{Action, Cause, Scenario},
};
use crate::{
    clock,
    progress::say,
    recording::{Alert, Deploy, FlagFlip, Manifest, MetricRow, Recording, Sampled, write_json},
    telemetry::metrics::{self, Sample},
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
        topology: fleet::topology(),
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

/// A shop that somebody tells a story with.
struct Run {
    fleet: Fleet,
    history: History,
    database: Client,
    deployed: BTreeMap<String, String>,
    metrics: Vec<MetricRow>,
    deploys: Vec<Deploy>,
    flags: Vec<FlagFlip>,
}

impl Run {
    async fn start(dir: &Path, sample: f64) -> anyhow::Result<Self> {
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
    async fn tell(
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
                alert = Some(describe(scenario, now, observed));
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

    async fn deploy(&mut self, service: &str) -> anyhow::Result<()> {
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
        let samples = self.database_metrics().await?;
        self.metrics
            .extend(collect::rows("inventory-db", now, &samples));
        Ok(answer)
    }

    async fn database_metrics(&self) -> anyhow::Result<Vec<Sample>> {
        let mut samples = Vec::new();
        let mut put = |metric: &str, labels, value: f64| {
            samples.push(Sample {
                metric: metric.to_owned(),
                labels,
                value,
            });
        };
        let connections = "select s.state, count(a.pid)::float8 \
                             from (values ('active'), ('idle'), ('idle in transaction')) s (state) \
                             left join pg_stat_activity a \
                               on a.state = s.state and a.application_name = 'inventory' \
                            group by s.state order by s.state";
        for row in self.database.query(connections, &[]).await? {
            put(
                "pg_connections",
                vec![("state".to_owned(), row.try_get(0)?)],
                row.try_get(1)?,
            );
        }
        let totals = "select xact_commit::float8, xact_rollback::float8, tup_fetched::float8, \
                             tup_returned::float8, tup_updated::float8 \
                        from pg_stat_database where datname = 'postgres'";
        let row = self.database.query_one(totals, &[]).await?;
        let names = [
            "commits",
            "rollbacks",
            "rows_fetched",
            "rows_returned",
            "rows_updated",
        ];
        for (index, name) in names.iter().enumerate() {
            put(&format!("pg_{name}_total"), Vec::new(), row.try_get(index)?);
        }
        Ok(samples)
    }
}

fn describe(scenario: &Scenario, now: DateTime<Utc>, observed: f64) -> Alert {
    let rule = scenario.rule;
    let (metric, seen, limit) = match rule.watch {
        Watch::P95 => (
            "http_request_duration_seconds p95",
            format!("p95 of {} {} is {observed:.2} s", rule.service, rule.route),
            format!("{} s", rule.threshold),
        ),
        Watch::ErrorShare => (
            "http_requests_total share of status 5xx",
            format!(
                "{:.0} % of {} {} fail",
                observed * 100.0,
                rule.service,
                rule.route
            ),
            format!("{:.0} %", rule.threshold * 100.0),
        ),
    };
    let title = match rule.watch {
        Watch::P95 => format!("{} {}: p95 latency above {limit}", rule.service, rule.route),
        Watch::ErrorShare => format!("{} {}: errors above {limit}", rule.service, rule.route),
    };
    Alert {
        title,
        service: rule.service.to_owned(),
        severity: "critical".to_owned(),
        fired_at: now,
        monitor: rule.monitor.to_owned(),
        metric: metric.to_owned(),
        threshold: rule.threshold,
        observed: (observed * 1000.0).round() / 1000.0,
        summary: format!(
            "{}: {seen} over the last minute, limit {limit}, for 60 s.",
            scenario.title
        ),
    }
}

fn seconds(seconds: u64) -> TimeDelta {
    TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1000))
}
