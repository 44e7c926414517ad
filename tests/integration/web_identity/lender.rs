//! The whole way of a credential: runs in a real database, the real routes of session as its role, AWS's stand-in
//! that believes what session publishes, and a server's own side.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use nightshift_domain::{Epoch, InvestigationId};
use nightshift_engine::attest::admit;
use nightshift_lambda::{FileSecrets, SecretError, Secrets};
use nightshift_mcp_kit::{Runs, casebook, testing::FakeCasebook};
use nightshift_observer::{Credentials, SecretsLink};
use nightshift_protocol::{run::RunStatus, web_identity::LendRequest};
use nightshift_secrets::aws::Place;
use nightshift_session::{
    Briefing, Servers, SessionState, SigningKey, SigningKeys, StatementVerifier, router,
};
use nightshift_store::{Role, Store};
use nightshift_tests::World;
use p256::ecdsa::VerifyingKey;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::aws::{
    cloud::Cloud,
    issuer::NOW,
    policies::{ACCOUNT, ISSUER, READER, REGION},
};

pub(super) const TELEMETRY: &str = "telemetry-0123456789";
pub(super) const CODEBASE: &str = "codebase-0123456789";
pub(super) const SECRETS: [&str; 2] = ["first-hunter2", "second-hunter2"];

/// The time stands, where AWS's does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Still;

impl Still {
    fn time() -> DateTime<Utc> {
        DateTime::from_timestamp(NOW, 0).unwrap()
    }
}

impl nightshift_engine::Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        Self::time()
    }
}

impl nightshift_mcp_kit::Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        Self::time()
    }
}

/// The secret that holds the servers' secrets.
#[derive(Debug)]
struct Written;

impl Secrets for Written {
    fn read<'a>(
        &'a self,
        reference: &'a str,
    ) -> BoxFuture<'a, Result<secrecy::SecretString, SecretError>> {
        Box::pin(async move {
            assert_eq!(reference, "servers");
            Ok(format!("telemetry={TELEMETRY},codebase={CODEBASE}").into())
        })
    }
}

/// Two tenants, each with a run that works and with a connection of `telemetry` that names `loki`; the first one's
/// `codebase` names `forge`.
pub(super) struct Lender {
    pub(super) world: World,
    pub(super) runs: Vec<RunStatus>,
    pub(super) session: Url,
    pub(super) cloud: Cloud,
    pub(super) sts: Url,
    pub(super) keys: tempfile::TempDir,
    link: SecretsLink,
    http: reqwest::Client,
}

impl Lender {
    pub(super) async fn new(pg: PgPool) -> Result<Self> {
        let world = World::builder().tenants(2).ready(2).build(pg).await?;
        let mut runs = Vec::new();
        for tenant in 0..2 {
            let owner = world.endpoints[tenant].tenant;
            connect(&world, tenant, "telemetry", "loki").await?;
            let investigation = world.alert_of(tenant, "ledger").await?;
            world.settle().await?;
            let statement = world.statement(investigation).await?;
            let admitted = admit(world.store(), &world.clock, &statement, "key").await?;
            runs.push(RunStatus {
                investigation,
                tenant: owner,
                sandbox: admitted.grant.sandbox,
                epoch: admitted.grant.epoch,
                fired_at: Still::time(),
                connections: world.store().connections(owner).await?,
            });
        }
        connect(&world, 0, "codebase", "forge").await?;

        let keys = tempfile::TempDir::new()?;
        let session = session(&world, &keys).await?;
        let http = casebook::http_client()?;
        let cloud = Cloud::trusting(published(&http, &session).await?);
        for (run, text) in runs.iter().zip(SECRETS) {
            let tenant = run.tenant.as_uuid().to_string();
            for name in ["loki", "forge"] {
                cloud.keep(&tenant, name, text, Some(&tenant));
            }
        }
        let (sts, secrets_manager) = cloud.serve().await;
        let link = SecretsLink {
            session: session.clone(),
            secret: TELEMETRY.to_owned().into(),
            place: Place {
                region: REGION.to_owned(),
                account: ACCOUNT.to_owned(),
                environment: "prod".to_owned(),
                role: format!("arn:aws:iam::{ACCOUNT}:role/{READER}"),
                sts: sts.clone(),
                secrets_manager,
            },
        };
        Ok(Self {
            world,
            runs,
            session,
            cloud,
            sts,
            keys,
            link,
            http,
        })
    }

    /// The credentials of the server `telemetry`.
    pub(super) fn credentials(&self) -> Credentials {
        let casebook = Arc::new(FakeCasebook::default());
        for run in &self.runs {
            casebook.make_live(run);
        }
        let runs: Arc<dyn Runs> = casebook;
        self.link.credentials_at(runs, Arc::new(Still)).unwrap()
    }

    /// Asks the route itself: the status and the answer.
    pub(super) async fn ask(
        &self,
        secret: Option<&str>,
        body: String,
    ) -> Result<(StatusCode, Value)> {
        let mut request = self.http.post(self.session.join("/v1/web-identity")?);
        if let Some(secret) = secret {
            request = request.bearer_auth(secret);
        }
        let request = request.header("content-type", "application/json");
        let answer = request.body(body).send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    /// A token that is good for the first run's `loki`.
    pub(super) async fn token(&self) -> Result<String> {
        let run = &self.runs[0];
        let body = asked(run.investigation, run.epoch, "loki");
        let (status, answer) = self.ask(Some(TELEMETRY), body).await?;
        anyhow::ensure!(status == StatusCode::OK, "{answer}");
        Ok(answer["token"].as_str().context("no token")?.to_owned())
    }

    /// What STS answers to a token: its status and what it says.
    pub(super) async fn assume(&self, token: &str) -> Result<(StatusCode, String)> {
        let role = format!("arn%3Aaws%3Aiam%3A%3A{ACCOUNT}%3Arole%2F{READER}");
        let form = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={role}&RoleSessionName=inv&\
             DurationSeconds=900&Policy=%7B%7D&WebIdentityToken={token}"
        );
        let request = self.http.post(self.sts.clone()).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    /// What was written down of answers, the tokens' identities last.
    pub(super) async fn written(&self, run: &RunStatus) -> Result<Vec<Value>> {
        let events = self.world.store();
        let events = events.events_after(None, run.investigation, 0).await?;
        let lent = events.into_iter().filter(|event| event.kind == "lent");
        Ok(lent.map(|event| event.detail).collect())
    }
}

/// A request's body.
pub(super) fn asked(investigation: InvestigationId, epoch: Epoch, credential: &str) -> String {
    let credential = credential.to_owned();
    let request = LendRequest {
        investigation,
        epoch,
        credential,
    };
    serde_json::to_string(&request).unwrap()
}

/// A part of a JWT.
pub(super) fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The keys that session publishes, found as AWS finds them: through what session says of itself.
pub(super) async fn published(
    http: &reqwest::Client,
    session: &Url,
) -> Result<HashMap<String, VerifyingKey>> {
    let described = session.join("/.well-known/openid-configuration")?;
    let described: Value = http.get(described).send().await?.json().await?;
    assert_eq!(described["issuer"], format!("https://{ISSUER}"));
    // Its public address leads nowhere here.
    let keys = described["jwks_uri"].as_str().context("no key set")?;
    let keys = session.join(keys.parse::<Url>()?.path())?;
    let keys: Value = http.get(keys).send().await?.json().await?;
    let mut found = HashMap::new();
    for key in keys["keys"].as_array().context("no keys")? {
        let kid = key["kid"].as_str().context("no name")?.to_owned();
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap());
        let point = [vec![4], bytes("x")?, bytes("y")?].concat();
        found.insert(kid, VerifyingKey::from_sec1_bytes(&point)?);
    }
    Ok(found)
}

async fn connect(world: &World, tenant: usize, server: &str, credential: &str) -> Result<()> {
    let config = json!({"backend": "loki", "credential": credential});
    let mut tx = world.store().begin().await?;
    let tenant = world.endpoints[tenant].tenant;
    tx.put_connection(tenant, server, &config).await?;
    Ok(tx.commit().await?)
}

async fn session(world: &World, keys: &tempfile::TempDir) -> Result<Url> {
    let none = Arc::new(FileSecrets::new(keys.path().join("none")));
    let file = SigningKey::File(keys.path().join("key.pem"));
    let state = SessionState {
        // In production session is this role; what it may not see it does not see here.
        store: Store::new(Role::Session.acting(&world.pg.connect_options(), 4).await?),
        clock: Arc::new(Still),
        verifier: Arc::new(StatementVerifier::new("https://identity.test")?),
        keys: Arc::new(SigningKeys::open(file, none, None).await?),
        issuer: format!("https://{ISSUER}").into(),
        briefing: Arc::new(Briefing::default()),
        servers: Some(Arc::new(Servers::new(
            "servers".to_owned(),
            Arc::new(Written),
        ))),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router(state)).await });
    Ok(address.parse()?)
}
