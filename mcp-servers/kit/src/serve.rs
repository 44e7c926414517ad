//! Starts a server: the gate, the tools behind it, a health check beside it, and an orderly end.

mod connections;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use nightshift_controls::{Control, holds};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    EvidenceLog, Gate, JwksUrl, Keyring, Runs, ServerConfig, SystemClock, TokenRules,
    TokenVerifier, ToolServer, Tools, casebook,
    hosts::{self, Hosts},
    limits::{self, RequestLimits},
    protect,
};

pub use connections::{CONNECTIONS, HEAD_TIME};

/// The largest request that is read, in bytes.
pub const REQUEST_BYTES: usize = 256 * 1024;
/// How long a request may take to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long a request may wait for its answer: the tool's own time, and the record's.
const ANSWER_TIME: Duration = Duration::from_secs(90);
/// How long open requests may take after the end was asked for.
const DRAIN: Duration = Duration::from_secs(5);

/// A server could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The client for the signing keys could not be made.
    #[error(transparent)]
    Client(#[from] casebook::ClientError),
}

/// The gate of a server: tokens by the configured issuer, for `audience`, of runs that `runs`
/// calls live.
pub fn gate(
    config: &ServerConfig,
    audience: nightshift_domain::scope::Audience,
    runs: Arc<dyn Runs>,
) -> Result<Arc<Gate>, ServeError> {
    let keys = Keyring::new(JwksUrl::new(
        casebook::http_client()?,
        config.jwks_url.clone(),
    ));
    let rules = TokenRules {
        issuer: config.token_issuer.clone(),
        audience,
        origin: config.public_origin.clone(),
    };
    let verifier = TokenVerifier::new(rules, keys, Arc::new(SystemClock));
    Ok(Arc::new(Gate::new(verifier, runs)))
}

/// The routes of an MCP server: `/mcp` behind the gate, `/healthz` beside it.
pub fn routes<S: ToolServer>(public_host: &str, gate: Arc<Gate>, tools: Tools<S>) -> Router {
    let mut settings = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_allowed_hosts([public_host, "localhost", "127.0.0.1", "::1"])
        // Both are checked before as well: here for whoever serves the tools without our layers.
        .enforce_origin_validation()
        .with_max_request_body_bytes(REQUEST_BYTES);
    if !holds(Control::HostCheck) {
        settings = settings.disable_allowed_hosts();
    }
    if !holds(Control::OriginCheck) {
        settings = settings.disable_allowed_origins();
    }
    if !holds(Control::BodySize) {
        settings = settings.with_max_request_body_bytes(usize::MAX);
    }
    let mcp = StreamableHttpService::new(
        move || Ok(tools.clone()),
        Arc::new(NeverSessionManager::default()),
        settings,
    );
    let limits = RequestLimits {
        bytes: REQUEST_BYTES,
        time: REQUEST_TIME,
    };
    let tools = Router::new().route_service("/mcp", mcp);
    let tools = limits::bounded(limits::answered_within(tools, ANSWER_TIME), limits);
    with_health(hosts::only(protect(tools, gate), Hosts::named(public_host)))
}

/// Adds `GET /healthz`, which needs no token.
pub fn with_health(router: Router) -> Router {
    router.route("/healthz", get(|| async { "ok" }))
}

/// Serves an MCP server until it is told to end.
pub async fn tools<S: ToolServer>(
    config: &ServerConfig,
    server: S,
    runs: Arc<dyn Runs>,
    log: Arc<dyn EvidenceLog>,
) -> Result<(), ServeError> {
    let gate = gate(config, S::AUDIENCE, runs)?;
    let tools = Tools::new(Arc::new(server), log);
    let routes = routes(&config.public_host, gate, tools);
    until_ended(
        config.listen,
        routes,
        End::of_process(config.exit_with_parent),
    )
    .await
}

/// Serves these routes until the end comes, then lets open requests finish for five seconds.
pub async fn until_ended(address: SocketAddr, routes: Router, end: End) -> Result<(), ServeError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })?;
    tracing::info!(%address, "Listening");
    let mut open = connections::accept(listener, routes, end).await;
    let drained = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("Ending with requests still open");
    }
    Ok(())
}

/// When a server ends.
#[derive(Debug, Clone)]
pub struct End(watch::Receiver<bool>);

impl End {
    /// On an interrupt or termination signal and, `with_parent`, when standard input ends: then
    /// the parent process is gone.
    #[must_use]
    pub fn of_process(with_parent: bool) -> Self {
        let (asked, end) = watch::channel(false);
        if with_parent {
            let asked = asked.clone();
            // A thread, because a read of standard input cannot be cancelled: it would keep the
            // runtime from ending.
            std::thread::spawn(move || {
                let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
                asked.send_replace(true);
            });
        }
        tokio::spawn(async move {
            signalled().await;
            asked.send_replace(true);
        });
        Self(end)
    }

    /// When `told` becomes true.
    #[must_use]
    pub const fn when(told: watch::Receiver<bool>) -> Self {
        Self(told)
    }

    /// Waits for the end.
    pub async fn came(mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}

async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "Cannot listen for the termination signal");
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
