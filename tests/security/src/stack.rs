//! The real servers on loopback over a real PostgreSQL, two tenants with a live run each, and whoever stands
//! outside: the issuer of tokens and the model's provider.

mod seed;
mod shelf;
mod upstream;
mod wire;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use anyhow::{Context, Result};
use axum::{Json, Router, routing::get};
use chrono::TimeDelta;
use nightshift_casebook::{CasebookServer, Cases, Credentials, ToolRuns, internal_routes};
use nightshift_codebase::CodebaseServer;
use nightshift_domain::{Scope, scope::Audience};
use nightshift_llm_gateway::{
    config::AnthropicAccount,
    gateway::{Gateway, budget::RunLimits, routes as gateway_routes},
    provider::{Providers, anthropic::Anthropic},
};
use nightshift_mcp_kit::{
    CachedRuns, CasebookClient, CasebookLink, Clock, EvidenceLog, JwkSet, Runs, ServerConfig,
    SystemClock, Tools, casebook,
    hosts::Hosts,
    logging::{LogFormat, Logging},
    serve::{self, End},
    testing::{ISSUER, Issuer},
};
use nightshift_protocol::{RunClaims, run::RunStatus};
use nightshift_store::{Role, Store};
use nightshift_telemetry::TelemetryServer;
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::database;

pub(crate) use seed::{DIGEST, Seeds};
pub(crate) use shelf::{OURS, Shelf, THEIRS, their_commit};
pub(crate) use upstream::{Reply, Upstream};
pub(crate) use wire::{Answer, Server, raw, send};

/// The provider's key, which the gateway alone holds.
pub(crate) const PROVIDER_KEY: &str = "sk-ant-provider-canary-5e1f";
/// What telemetry shows the casebook.
pub(crate) const SERVICE_SECRET: &str = "telemetry-service-canary-7a2c";

/// What a stack is started with.
#[derive(Default)]
pub(crate) struct Options {
    /// Log lines that somebody wrote into the systems.
    pub(crate) log_lines: Vec<String>,
    /// What a run may use of the model.
    pub(crate) limits: RunLimits,
}

/// A tenant's run at work.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) status: RunStatus,
}

pub(crate) struct Stack {
    pub(crate) issuer: Issuer,
    pub(crate) casebook: Server,
    pub(crate) telemetry: Server,
    pub(crate) codebase: Server,
    pub(crate) llm: Server,
    /// Where services reach the casebook.
    pub(crate) internal: SocketAddr,
    /// The run of the attacker's tenant.
    pub(crate) ours: Run,
    /// The run of the tenant that is attacked.
    pub(crate) theirs: Run,
    pub(crate) seeds: Seeds,
    pub(crate) cases: Cases,
    pub(crate) pg: PgPool,
    pub(crate) upstream: Upstream,
    casebook_ends: watch::Sender<bool>,
    /// Recordings; gone with it.
    #[expect(dead_code, reason = "it is the folder's life")]
    folder: TempDir,
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Stack {
    pub(crate) async fn start() -> Result<Self> {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Result<Self> {
        let folder = TempDir::new()?;
        let shelf = Shelf::fill(folder.path(), &options.log_lines)?;
        let pg = database::fresh().await?;
        let seeds = Seeds::plant(pg.clone()).await?;
        let ours = seeds
            .tenant_at_work("acme", OURS, shelf.fired_at(OURS)?)
            .await?;
        let theirs = seeds
            .tenant_at_work("globex", THEIRS, shelf.fired_at(THEIRS)?)
            .await?;

        let issuer = Issuer::new("key-1");
        let keys = serve_keys(&issuer).await?;
        let upstream = Upstream::start().await?;
        let internal = free_address()?;
        let [casebook, telemetry, codebase, llm] = [
            Audience::Casebook,
            Audience::Telemetry,
            Audience::Codebase,
            Audience::Llm,
        ]
        .map(Server::of);
        let (casebook, telemetry, codebase, llm) = (casebook?, telemetry?, codebase?, llm?);
        let config = |server: &Server| configured(server, &keys);

        let (casebook_ends, told) = watch::channel(false);
        // The casebook is what it is in production: a role with its own rights.
        let acting = Role::Casebook.acting(&pg.connect_options(), 8).await?;
        let cases = Cases::new(
            Store::new(acting),
            Arc::new(SystemClock),
            TimeDelta::seconds(900),
        );
        serve_casebook(&casebook, &config(&casebook)?, &cases, internal, &told)?;

        let telemetry_stores = nightshift_telemetry::Connections::index(&shelf.stores())?;
        let codebase_stores = nightshift_codebase::Connections::index(&shelf.stores())?;
        for (config, server) in [
            (config(&telemetry)?, Served::Telemetry(telemetry_stores)),
            (config(&codebase)?, Served::Codebase(codebase_stores)),
        ] {
            let link = Arc::new(link(internal, server.secret())?);
            let log: Arc<dyn EvidenceLog> = Arc::clone(&link) as _;
            let runs: Arc<dyn Runs> = Arc::new(CachedRuns::new(link));
            match server {
                Served::Telemetry(stores) => {
                    let server = TelemetryServer::new(stores)?;
                    tokio::spawn(async move { serve::tools(&config, server, runs, log).await });
                }
                Served::Codebase(stores) => {
                    let server = CodebaseServer::new(stores)?;
                    tokio::spawn(async move { serve::tools(&config, server, runs, log).await });
                }
            }
        }
        serve_gateway(&llm, &config(&llm)?, internal, &upstream, options.limits)?;

        let stack = Self {
            issuer,
            casebook,
            telemetry,
            codebase,
            llm,
            internal,
            ours,
            theirs,
            seeds,
            cases,
            pg,
            upstream,
            casebook_ends,
            folder,
        };
        for server in [
            &stack.casebook,
            &stack.telemetry,
            &stack.codebase,
            &stack.llm,
        ] {
            server.answers().await?;
        }
        Ok(stack)
    }

    /// A good token of this run for this server.
    pub(crate) fn token(&self, server: &Server, run: &Run) -> String {
        self.issuer.sign(&good_claims(server, run))
    }

    /// A good token with these scopes alone.
    pub(crate) fn narrow_token(&self, server: &Server, run: &Run, scopes: &[Scope]) -> String {
        let claims = Issuer::claims(&run.status, server.audience, scopes, SystemClock.now());
        self.issuer.sign(&claims)
    }

    /// Calls a tool as the supervisor of this run does.
    pub(crate) async fn call(
        &self,
        server: &Server,
        run: &Run,
        tool: &str,
        arguments: Value,
    ) -> Result<Answer> {
        let token = self.token(server, run);
        server.post(&token, &call(tool, &arguments)).await
    }

    /// Asks the model as the supervisor of this run does.
    pub(crate) async fn ask(&self, run: &Run, body: &Value) -> Result<Answer> {
        self.ask_at("/v1/messages", run, body).await
    }

    pub(crate) async fn ask_at(&self, path: &str, run: &Run, body: &Value) -> Result<Answer> {
        let token = self.token(&self.llm, run);
        let request = self.llm.proved("POST", path, &token).json(body);
        wire::send(request).await
    }

    /// Ends the casebook, as an outage would.
    pub(crate) async fn end_casebook(&self) {
        self.casebook_ends.send_replace(true);
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(self.internal).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// Claims of a good token of this run for this server, with every scope that the server has.
pub(crate) fn good_claims(server: &Server, run: &Run) -> RunClaims {
    let scopes = server.audience.scopes();
    Issuer::claims(&run.status, server.audience, scopes, SystemClock.now())
}

/// A `tools/call` message.
pub(crate) fn call(tool: &str, arguments: &Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
}

/// A `tools/list` message.
pub(crate) fn list() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })
}

/// A question to the model that may be asked.
pub(crate) fn question(text: &str) -> Value {
    json!({ "model": "claude-a", "max_tokens": 1_000,
        "messages": [{ "role": "user", "content": text }] })
}

enum Served {
    Telemetry(nightshift_telemetry::Connections),
    Codebase(nightshift_codebase::Connections),
}

impl Served {
    const fn secret(&self) -> &'static str {
        match self {
            Self::Telemetry(_) => SERVICE_SECRET,
            Self::Codebase(_) => "codebase-service-canary-91bd",
        }
    }
}

async fn serve_keys(issuer: &Issuer) -> Result<reqwest::Url> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/jwks.json", listener.local_addr()?);
    let jwk = issuer.jwk.clone();
    let keys = get(async move || Json(JwkSet { keys: vec![jwk] }));
    let routes = Router::new().route("/jwks.json", keys);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(url.parse()?)
}

fn configured(server: &Server, keys: &reqwest::Url) -> Result<ServerConfig> {
    Ok(ServerConfig {
        listen: server.at,
        public_host: server.host.clone(),
        public_origin: format!("http://{}", server.host).parse()?,
        token_issuer: ISSUER.to_owned(),
        jwks_url: keys.clone(),
        exit_with_parent: false,
        logging: Logging {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        },
    })
}

fn link(internal: SocketAddr, secret: &str) -> Result<CasebookClient> {
    let link = CasebookLink {
        base: format!("http://{internal}").parse()?,
        credential: secret.to_owned().into(),
    };
    Ok(CasebookClient::new(casebook::http_client()?, &link)?)
}

fn serve_casebook(
    server: &Server,
    config: &ServerConfig,
    cases: &Cases,
    internal: SocketAddr,
    ends: &watch::Receiver<bool>,
) -> Result<()> {
    let credentials = [
        ("telemetry", SERVICE_SECRET),
        ("codebase", "codebase-service-canary-91bd"),
        ("llm", "llm-service-canary-0e44"),
    ];
    let credentials = credentials.map(|(name, secret)| (name.to_owned(), secret.to_owned()));
    let credentials = Credentials::new(credentials.to_vec())?;
    let runs = Arc::new(ToolRuns(cases.clone()));
    let gate = serve::gate(config, Audience::Casebook, runs)?;
    let tools = Tools::new(
        Arc::new(CasebookServer::new(cases.clone())?),
        Arc::new(cases.clone()),
    );
    let agents = serve::routes(&config.public_host, gate, tools);
    let services = internal_routes(cases.clone(), credentials, Hosts::of_this_machine());
    for (at, routes) in [(server.at, agents), (internal, services)] {
        let end = End::when(ends.clone());
        tokio::spawn(async move { serve::until_ended(at, routes, end).await });
    }
    Ok(())
}

fn serve_gateway(
    server: &Server,
    config: &ServerConfig,
    internal: SocketAddr,
    upstream: &Upstream,
    limits: RunLimits,
) -> Result<()> {
    let link = Arc::new(link(internal, "llm-service-canary-0e44")?);
    let account = AnthropicAccount {
        key: PROVIDER_KEY.to_owned().into(),
        base: upstream.url.parse()?,
    };
    let providers = Providers::with_fallback(Arc::new(Anthropic::new(&account)?));
    let runs: Arc<dyn Runs> = Arc::new(CachedRuns::new(Arc::clone(&link)));
    let gate = serve::gate(config, Audience::Llm, runs)?;
    let gateway = Gateway::new(
        providers,
        "claude-a,fast=claude-b".parse().context("the models")?,
        limits,
        Arc::<CasebookClient>::clone(&link),
        link,
        Arc::new(SystemClock),
    );
    let routes = gateway_routes(gateway, gate, &config.public_host);
    let (at, end) = (server.at, End::of_process(false));
    tokio::spawn(async move { serve::until_ended(at, routes, end).await });
    Ok(())
}
