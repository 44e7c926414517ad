//! A stack with one live run, and tokens for that run.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use nightshift_chaos::HeldModel;
use nightshift_domain::{Epoch, scope::Audience};
use nightshift_engine::{Clock as _, SystemClock, attest::RunGrant};
use nightshift_lambda::FileSecrets;
use nightshift_mcp_kit::testing::Holder;
use nightshift_session::{SigningKey, SigningKeys, mint};
use nightshift_stack::{Setup, Stack};
use sqlx::{Connection, PgConnection, Row};
use tokio::time::{self, Instant};

/// The exact `iss` of tokens in a stack on one machine.
const ISSUER: &str = "https://session.nightshift.local";
/// How long the run may take to be at work.
const PATIENCE: Duration = Duration::from_mins(4);
/// How long the model takes for each of its turns, of which it has enough for ten minutes.
const PACE: Duration = Duration::from_secs(10);

/// A live run. It ends with the stack.
pub(crate) struct LiveRun {
    stack: Stack,
    badge: Arc<Badge>,
    model: HeldModel,
}

/// Makes tokens and proofs for the run, as session and a supervisor do.
pub(crate) struct Badge {
    keys: SigningKeys,
    grant: RunGrant,
    holder: Holder,
}

impl LiveRun {
    /// Starts a stack, sends an alert, and waits until somebody works on it.
    pub(crate) async fn begin() -> Result<Self> {
        let model = HeldModel::open(PACE).await?;
        let arguments = ["--pool", "1"].map(str::to_owned).into();
        let setup = Setup {
            arguments,
            environment: vec![
                ("ANTHROPIC_API_KEY", "a-key-of-nobody".to_owned()),
                ("ANTHROPIC_BASE_URL", model.url.clone()),
                ("NIGHTSHIFT_LLM_PROVIDER", "anthropic".to_owned()),
            ],
            files: Vec::new(),
        };
        let stack = tokio::task::spawn_blocking(move || -> Result<Stack> {
            let stack = Stack::with(setup)?;
            stack
                .send(r#"{"id": "conformance", "title": "The shop is slow", "service": "shop"}"#)?;
            Ok(stack)
        });
        let stack = stack.await??;
        let grant = working(&stack).await?;
        let key = SigningKey::File(stack.local().join("signing.pem"));
        let none = Arc::new(FileSecrets::new(stack.local().join("none")));
        let badge = Badge {
            keys: SigningKeys::open(key, none, None).await?,
            grant,
            holder: Holder::default(),
        };
        Ok(Self {
            stack,
            badge: Arc::new(badge),
            model,
        })
    }

    /// Where a server listens.
    pub(crate) fn address(&self, server: &str) -> Result<String> {
        let file = self.stack.file()?;
        let url = file["mcp"][server].as_str().context("no such server")?;
        let address = url.trim_start_matches("http://").split('/').next();
        Ok(address.context("no address")?.to_owned())
    }

    /// What makes its tokens.
    pub(crate) fn badge(&self) -> Arc<Badge> {
        Arc::clone(&self.badge)
    }

    /// Lets the run end, and then the stack; what it leaves is an error.
    pub(crate) async fn end(self) -> Result<()> {
        self.model.release();
        let ended = tokio::task::spawn_blocking(move || {
            self.stack.wait_for_ends()?;
            self.stack.end()
        });
        ended.await?
    }
}

impl Badge {
    /// A fresh token for this server, and a proof for one request with it.
    pub(crate) async fn show(
        &self,
        audience: Audience,
        method: &str,
        url: &str,
    ) -> Result<(String, axum::http::HeaderValue)> {
        let keys = self.keys.current().await;
        let now = SystemClock.now();
        let thumbprint = self.holder.thumbprint();
        let tokens = mint(keys.signing(now), ISSUER, &self.grant, &thumbprint, now).await?;
        let token = tokens.into_iter().find(|token| token.audience == audience);
        let token = token.context("no token for this server")?.token;
        let proof = self.holder.prove(method, url, &token);
        Ok((token, proof))
    }
}

async fn working(stack: &Stack) -> Result<RunGrant> {
    let url = stack.file()?["database"]
        .as_str()
        .context("no database")?
        .to_owned();
    let began = Instant::now();
    loop {
        let mut connection = PgConnection::connect(&url).await?;
        let question =
            "select tenant_id, id, sandbox_id, epoch from investigations where state = 'working'";
        if let Some(row) = sqlx::query(question)
            .fetch_optional(&mut connection)
            .await?
        {
            return Ok(RunGrant {
                tenant: row.get::<sqlx::types::Uuid, _>(0).into(),
                investigation: row.get::<sqlx::types::Uuid, _>(1).into(),
                sandbox: row.get::<sqlx::types::Uuid, _>(2).into(),
                epoch: Epoch(row.get(3)),
            });
        }
        ensure!(began.elapsed() < PATIENCE, "nobody works on the alert");
        time::sleep(Duration::from_millis(200)).await;
    }
}
