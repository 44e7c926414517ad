//! The control plane in this process: intake, the API, session, the relay and the sweep.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::Router;
use nightshift_alert_intake::IntakeState;
use nightshift_api::{ApiState, Tokens};
use nightshift_engine::{
    Platform, Settings, causes,
    provider::Fly,
    relay::{self, InProcess},
    sweep::sweep,
};
use nightshift_lambda::{Environment, FileSecrets, HttpCourier, courier::Reach};
use nightshift_machines::{Client, Guest, PolicyPort, Protocol};
use nightshift_session::{Briefing, SessionConfig, SigningKey};
use nightshift_store::{Role, Store};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time};

use super::{
    plan::{TOKEN_ISSUER, public_host},
    plane::Parts,
    ports::Ports,
    secrets::StackSecrets,
};

/// Connections to the database of alert intake, and of session and the API each.
const INTAKE_CONNECTIONS: u32 = 16;
const CONNECTIONS: u32 = 8;
/// How often overdue rows are looked for. Nothing waits for it but what went wrong.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Memory of a machine.
const MEMORY_MB: u32 = 512;
/// What of it the agent's commands may take: three quarters.
const AGENT_MEMORY_MB: u32 = MEMORY_MB / 4 * 3;
/// How long requests and steps under way may take when we end.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// The control plane.
#[derive(Debug)]
pub(super) struct Control {
    /// What the use cases run on.
    pub(super) platform: Platform,
    intake: Store,
    servers: Vec<JoinHandle<()>>,
    engine: Vec<JoinHandle<()>>,
    stop_intake: watch::Sender<bool>,
    stop_engine: watch::Sender<bool>,
    stop_servers: watch::Sender<bool>,
}

/// The platform over machined.
pub(super) fn platform(
    store: Store,
    ports: &Ports,
    secrets: &StackSecrets,
    accepted_risks: &str,
) -> Result<Platform> {
    let token = secrets.of("machines/token")?.to_owned();
    let client = Client::new(&ports.url("machines"), token.into())?;
    let http = PolicyPort {
        protocol: Protocol::Tcp,
        port: 80,
    };
    let guest = Guest {
        cpu_kind: "shared".to_owned(),
        cpus: 1,
        memory_mb: MEMORY_MB,
    };
    Ok(Platform {
        store,
        clock: Arc::new(nightshift_engine::SystemClock),
        provider: Arc::new(Fly::new(client, "local".to_owned(), vec![http], guest)),
        courier: Arc::new(HttpCourier::new(
            Arc::new(FileSecrets::new(secrets.path())),
            Reach::Anywhere,
        )),
        settings: Arc::new(Settings {
            machine_env: machine_env(accepted_risks),
            ..Settings::default()
        }),
    })
}

/// What every sandbox is told.
pub(super) fn machine_env(accepted_risks: &str) -> BTreeMap<String, String> {
    let session = format!("http://{}", public_host("session"));
    let agent_memory = AGENT_MEMORY_MB.to_string();
    let told = [
        ("NIGHTSHIFT_SESSION", session.as_str()),
        ("NIGHTSHIFT_GATEWAY_SOCKET", "/run/gateway.sock"),
        ("NIGHTSHIFT_ACCEPTED_RISKS", accepted_risks),
        ("NIGHTSHIFT_AGENT_MEMORY_MB", agent_memory.as_str()),
    ];
    told.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

impl Control {
    /// Serves session, which sandboxes and servers ask, and the API. Nothing is taken in yet.
    pub(super) async fn open(
        Parts {
            checkout,
            ports,
            secrets,
            database,
            ..
        }: Parts<'_>,
        platform: Platform,
    ) -> Result<Self> {
        // One process, and still each part logs in as what it is.
        let as_role = async |role, connections| -> Result<Store> {
            let store = database.store(role, connections).await?;
            Ok(store.beside(&platform.store))
        };
        let intake = as_role(Role::Intake, INTAKE_CONNECTIONS).await?;
        let admitting = as_role(Role::Session, CONNECTIONS).await?;
        let answering = as_role(Role::Api, CONNECTIONS).await?;
        let (stop_intake, _) = watch::channel(false);
        let (stop_engine, _) = watch::channel(false);
        let (stop_servers, _) = watch::channel(false);
        let mut control = Self {
            platform,
            intake,
            servers: Vec::new(),
            engine: Vec::new(),
            stop_intake,
            stop_engine,
            stop_servers,
        };
        let clock = Arc::clone(&control.platform.clock);
        let session = SessionConfig {
            statement_issuer: format!("{}/oidc", ports.url("machines")),
            token_issuer: TOKEN_ISSUER.to_owned(),
            signing_key: SigningKey::File(checkout.local()?.join("signing.pem")),
            briefing: Briefing::from_env(&mut Environment::of_this_process()),
            servers: None,
        };
        let kept = Arc::new(FileSecrets::new(secrets.path()));
        let session = session
            .open(admitting, Arc::clone(&clock), kept, None)
            .await?;
        let token = secrets.of("api/token")?.to_owned();
        let api = ApiState::new(answering, clock, Tokens::new(&[token.into()])?);
        control
            .serve(
                ports.address("session"),
                nightshift_session::router(session),
            )
            .await?;
        control
            .serve(ports.address("api"), nightshift_api::router(api))
            .await?;
        Ok(control)
    }

    /// Begins to work: the relay, the sweep, and alert intake last.
    pub(super) async fn begin(&mut self, ports: &Ports, secrets: &StackSecrets) -> Result<()> {
        let platform = self.platform.clone();
        let carrier = Arc::new(InProcess::new(platform.clone()));
        let stopped = self.stop_engine.subscribe();
        self.engine
            .push(tokio::spawn(relay::run(platform.clone(), carrier, stopped)));
        self.engine.push(tokio::spawn(sweep_on(
            platform,
            self.stop_engine.subscribe(),
        )));
        let intake = nightshift_alert_intake::router(IntakeState {
            store: self.intake.clone(),
            clock: Arc::clone(&self.platform.clock),
            secrets: Arc::new(FileSecrets::new(secrets.path())),
        });
        let listener = listen(ports.address("intake")).await?;
        let stopped = self.stop_intake.subscribe();
        self.servers
            .push(tokio::spawn(serve(listener, intake, stopped)));
        Ok(())
    }

    /// Takes no more alerts. What was accepted stays accepted.
    pub(super) fn refuse_alerts(&self) {
        self.stop_intake.send_replace(true);
    }

    /// Carries out no more steps; those under way may finish.
    pub(super) async fn stop_engine(&mut self) {
        self.stop_engine.send_replace(true);
        end(self.engine.drain(..)).await;
    }

    /// Ends what is left.
    pub(super) async fn close(mut self) {
        self.refuse_alerts();
        self.stop_engine().await;
        self.stop_servers.send_replace(true);
        end(self.servers.drain(..)).await;
    }

    async fn serve(&mut self, address: SocketAddr, router: Router) -> Result<()> {
        let listener = listen(address).await?;
        let stopped = self.stop_servers.subscribe();
        self.servers
            .push(tokio::spawn(serve(listener, router, stopped)));
        Ok(())
    }
}

/// Listens where we said we would.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{address} was taken by another process meanwhile; start again"))
}

/// Serves until told to stop.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let until = async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let served = axum::serve(listener, router).with_graceful_shutdown(until);
    if let Err(error) = served.await {
        tracing::error!(%error, "A server of the control plane broke");
    }
}

async fn sweep_on(platform: Platform, mut stopped: watch::Receiver<bool>) {
    loop {
        if let Err(error) = sweep(&platform).await {
            tracing::warn!(
                error = causes(&error),
                "A sweep failed; the next one looks again"
            );
        }
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = time::sleep(SWEEP_EVERY) => {}
        }
    }
}

/// Waits for tasks that were asked to end; those that take too long are cut off.
pub(super) async fn end(tasks: impl Iterator<Item = JoinHandle<()>>) {
    let until = time::Instant::now() + END_PATIENCE;
    for mut task in tasks {
        if time::timeout_at(until, &mut task).await.is_err() {
            task.abort();
        }
    }
}
