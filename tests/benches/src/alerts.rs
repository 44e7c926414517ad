//! How fast alerts are answered: the real router over HTTP on loopback, signatures checked, every accepted
//! alert on the disk before its answer.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use hmac::{Hmac, Mac};
use nightshift_alert_intake::{IntakeState, router};
use nightshift_engine::SystemClock;
use nightshift_lambda::{FileSecrets, SealedFile};
use nightshift_store::Store;
use nightshift_terminal::Table;
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::{
    cli::Alerts,
    database::Database,
    environment,
    figures::{Latencies, Output, rate, round, say},
    load,
    seed::{self, Cast},
    usage::Usage,
};

/// Connections of alert intake, as many as the local stack gives its control plane.
const CONNECTIONS: u32 = 24;
/// Tenants, with one endpoint each.
const TENANTS: usize = 10;
/// Finished investigations that are there already.
const HISTORY: i64 = 10_000;
/// An answer that takes longer is as good as none: the vendors' patience.
const PATIENCE: Duration = Duration::from_secs(5);
/// Arrivals a second, and for how many seconds.
const LOADS: [(u32, u64); 2] = [(100, 30), (1_000, 20)];
const SECRET: &str = "a secret of the benchmark alone";

/// What became of one alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// 202.
    Accepted,
    /// 429 or 503 with `Retry-After`: the sender keeps it and comes again.
    Retryable,
    /// Anything else, or nothing.
    Lost,
}

/// Measures, and fails where an alert was lost.
pub(crate) async fn run(local: &Path, wanted: &Alerts, output: &Output) -> Result<()> {
    let database = Database::make(local).await?;
    let measured = measure(&database, wanted).await;
    database.end().await?;
    output.end(&measured?);
    Ok(())
}

async fn measure(database: &Database, wanted: &Alerts) -> Result<Value> {
    let cast = seed::cast(&database.admin, TENANTS).await?;
    say(&format!(
        "making a history of {HISTORY} finished investigations"
    ));
    cast.history(&database.admin, HISTORY).await?;
    let folder = tempfile::tempdir()?;
    let hooks = Hooks::serve(database, &cast, folder.path()).await?;
    let mut table = Table::new([
        "alerts/s",
        "accepted",
        "retry",
        "lost",
        "p50 ms",
        "p90",
        "p99",
        "max",
        "db µs",
        "bench µs",
    ]);
    let mut figures = Map::new();
    figures.insert("bench".into(), json!("alerts"));
    figures.insert("machine".into(), environment::describe());
    let mut loads = Vec::new();
    for (arrivals, seconds) in LOADS {
        let seconds = wanted.seconds.unwrap_or(seconds);
        warm_up(&hooks).await?;
        let before = stored(database).await?;
        let used = Usage::now(&database.admin).await?;
        let answers = ask(&hooks, arrivals, seconds).await?;
        let used = used.since(&database.admin).await?;
        let stored = stored(database).await? - before;
        let count = |answer| answers.iter().filter(|(it, _)| *it == answer).count();
        let (accepted, retryable) = (count(Answer::Accepted), count(Answer::Retryable));
        let lost = count(Answer::Lost);
        let all = Latencies(answers.iter().map(|(_, ms)| *ms).collect());
        let [p50, p90, p99, max] = all.cells();
        table.row(&[
            arrivals.to_string(),
            accepted.to_string(),
            retryable.to_string(),
            lost.to_string(),
            p50,
            p90,
            p99,
            max,
            rate(used.postgres_us(accepted)),
            rate(used.bench_us(accepted)),
        ]);
        loads.push(json!({
            "per_second": arrivals, "seconds": seconds, "accepted": accepted,
            "retryable": retryable, "lost": lost, "stored": stored, "ms": all.json(),
            "postgres_us": round(used.postgres_us(accepted)),
        }));
        ensure!(
            i64::try_from(accepted)? == stored,
            "{accepted} alerts were accepted and {stored} are stored"
        );
        ensure!(
            lost == 0,
            "{lost} alerts were neither accepted nor told to come again"
        );
    }
    Output::table(
        "alert to answer, Poisson arrivals, from the intended moment",
        &table,
    );
    Output::line("every accepted alert is stored, and nothing else is");
    figures.insert("loads".into(), Value::Array(loads));
    Ok(Value::Object(figures))
}

/// Alerts, with an investigation each.
async fn stored(database: &Database) -> Result<i64> {
    let count = sqlx::query_scalar(
        "select count(*) from alerts a join investigations i on i.alert_id = a.id
          where i.state = 'queued'",
    )
    .fetch_one(&database.admin)
    .await?;
    Ok(count)
}

/// Alert intake, and who sends to it.
#[derive(Clone)]
struct Hooks {
    urls: Arc<Vec<String>>,
    http: reqwest::Client,
}

impl Hooks {
    async fn serve(database: &Database, cast: &Cast, folder: &Path) -> Result<Self> {
        let secrets = folder.join("secrets.sealed");
        let held = [("webhook/bench".to_owned(), SECRET.to_owned())];
        SealedFile::at(&secrets).seal(&held.into())?;
        let intake = router(IntakeState {
            store: Store::connect(database.url(), CONNECTIONS).await?,
            clock: Arc::new(SystemClock),
            secrets: Arc::new(FileSecrets::new(secrets)),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, intake).await });
        let url =
            |endpoint: &uuid::Uuid| format!("http://{address}/v1/hooks/{}", endpoint.simple());
        // No TLS is spoken here, but the client does not build without a provider of it.
        nightshift_http::tls::choose();
        Ok(Self {
            urls: Arc::new(cast.endpoints.iter().map(url).collect()),
            http: reqwest::Client::builder()
                .timeout(PATIENCE)
                .pool_max_idle_per_host(512)
                .build()?,
        })
    }

    async fn send(&self) -> Answer {
        let id = uuid::Uuid::now_v7();
        let place = usize::from(id.as_bytes()[15]) % self.urls.len();
        let Some(url) = self.urls.get(place) else {
            return Answer::Lost;
        };
        let body = json!({
            "id": id, "title": "p99 of checkout is above 2 s", "service": "checkout",
            "severity": "high", "status": "firing",
        })
        .to_string();
        let sent = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header("x-delivery-id", id.to_string())
            .header("x-nightshift-signature", signature(&body))
            .body(body)
            .send()
            .await;
        let Ok(answer) = sent else {
            return Answer::Lost;
        };
        let again = answer.headers().contains_key("retry-after");
        match answer.status().as_u16() {
            202 => Answer::Accepted,
            429 | 503 if again => Answer::Retryable,
            _ => Answer::Lost,
        }
    }
}

fn signature(body: &str) -> String {
    let time = seed::now().timestamp();
    // RFC 2104 takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{time}.{body}").as_bytes());
    format!("t={time},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// Connections and prepared statements are made before anything counts.
async fn warm_up(hooks: &Hooks) -> Result<()> {
    let hooks = hooks.clone();
    load::closed(50, Duration::ZERO, Duration::from_secs(1), move || {
        let hooks = hooks.clone();
        async move {
            hooks.send().await;
            Ok(())
        }
    })
    .await?;
    Ok(())
}

async fn ask(hooks: &Hooks, arrivals: u32, seconds: u64) -> Result<Vec<(Answer, f64)>> {
    let hooks = hooks.clone();
    let during = Duration::from_secs(seconds);
    let answers = load::open(f64::from(arrivals), Duration::ZERO, during, 3, move || {
        let hooks = hooks.clone();
        async move { Ok(hooks.send().await) }
    })
    .await?;
    Ok(answers.each)
}
