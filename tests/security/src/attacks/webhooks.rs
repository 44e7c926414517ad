//! Alerts that nobody sent, or that somebody sends again, at the real intake.

use std::sync::Arc;

use anyhow::Result;
use hmac::{Hmac, Mac};
use nightshift_alert_intake::{IntakeState, router};
use nightshift_domain::EndpointId;
use nightshift_engine::SystemClock;
use nightshift_lambda::{FileSecrets, SealedFile};
use nightshift_mcp_kit::Clock;
use nightshift_store::{Endpoint, Role, Store};
use serde_json::json;
use sha2::Sha256;
use sqlx::PgPool;
use tempfile::TempDir;

use crate::{
    case::{Case, Outcome, case},
    database,
    stack::Seeds,
};

pub(crate) const CASES: &[Case] = &[
    case!(
        61,
        "webhook-forged",
        [WebhookSignature],
        "an alert with a signature of one's own",
        forged
    ),
    case!(
        61,
        "webhook-old",
        [WebhookAge],
        "an alert of an hour ago",
        old
    ),
    case!(
        61,
        "webhook-replayed",
        [WebhookOnce],
        "an alert that was seen on the wire",
        replayed
    ),
];

const SECRET: &str = "the-webhook-secret";

struct Intake {
    at: std::net::SocketAddr,
    pg: PgPool,
    #[expect(dead_code, reason = "it is the folder's life")]
    secrets: TempDir,
}

impl Intake {
    async fn start() -> Result<Self> {
        let pg = database::fresh().await?;
        let seeds = Seeds::plant(pg.clone()).await?;
        let now = nightshift_mcp_kit::SystemClock.now();
        let mut tx = seeds.store.begin().await?;
        let tenant = tx.put_tenant("acme", 10, 10, now).await?;
        let endpoint = Endpoint {
            id: EndpointId::generate(),
            tenant,
            source: "generic".to_owned(),
            path_token: "acme-token".to_owned(),
            secret_refs: vec!["hook".to_owned()],
            mapping: None,
        };
        tx.put_endpoint(&endpoint, now).await?;
        tx.commit().await?;
        let secrets = TempDir::new()?;
        let path = secrets.path().join("secrets.sealed");
        let kept = [("hook".to_owned(), SECRET.to_owned())];
        SealedFile::at(&path).seal(&kept.into())?;
        let state = IntakeState {
            store: Store::new(Role::Intake.acting(&pg.connect_options(), 4).await?),
            clock: Arc::new(SystemClock),
            secrets: Arc::new(FileSecrets::new(path)),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router(state)).await });
        Ok(Self { at, pg, secrets })
    }

    /// Sends an alert signed at this time with this secret; says the status.
    async fn send(&self, id: &str, at: i64, secret: &str) -> Result<u16> {
        let body = json!({ "id": id, "title": "Disk is full", "service": "frontend" }).to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
        mac.update(format!("{at}.{body}").as_bytes());
        let signature = format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()));
        let http = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{}/v1/hooks/acme-token", self.at);
        let request = http.post(url).header("x-nightshift-signature", signature);
        Ok(request.body(body).send().await?.status().as_u16())
    }

    async fn count(&self, what: &str) -> Result<i64> {
        let sql = format!("select count(*) from {what}");
        Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&self.pg)
            .await?)
    }
}

fn now() -> i64 {
    nightshift_mcp_kit::SystemClock.now().timestamp()
}

/// One honest alert, then this one: it succeeds if it opens another investigation.
async fn judge(at: i64, secret: &str) -> Result<Outcome> {
    let intake = Intake::start().await?;
    let status = intake.send("honest", now(), SECRET).await?;
    anyhow::ensure!(status == 202, "an honest alert was answered with {status}");
    let before = intake.count("investigations").await?;
    let status = intake.send("attack", at, secret).await?;
    let opened = intake.count("investigations").await? - before;
    Ok(Outcome::of(
        opened > 0,
        format!("{status}, {opened} investigations opened"),
    ))
}

async fn forged() -> Result<Outcome> {
    judge(now(), "a-guess").await
}

async fn old() -> Result<Outcome> {
    judge(now() - 3_600, SECRET).await
}

async fn replayed() -> Result<Outcome> {
    let intake = Intake::start().await?;
    let at = now();
    let status = intake.send("honest", at, SECRET).await?;
    anyhow::ensure!(status == 202, "an honest alert was answered with {status}");
    let again = intake.send("honest", at, SECRET).await?;
    let kept = intake.count("deliveries").await?;
    Ok(Outcome::of(
        kept > 1,
        format!("{again}, {kept} delivery counts"),
    ))
}
