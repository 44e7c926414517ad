//! A running stack.

use anyhow::{Context, Result};
use nightshift_postgres::Cluster;
use nightshift_store::Role;

use super::{
    children::Children,
    control,
    database::Database,
    ending, image,
    lambda::Functions,
    lock::Lock,
    plan::{Choices, Plans},
    plane::{Parts, Plane},
    ports::Ports,
    risks,
    secrets::StackSecrets,
    seed,
};
use crate::{
    api,
    checkout::Checkout,
    say,
    stack_file::{EndpointAddress, McpServers, StackFile},
};

/// Connections of the engine to the database.
const CONNECTIONS: u32 = 16;

/// How large a stack is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// Sandboxes kept ready.
    pub ready: i32,
    /// Sandboxes at once, whatever their state.
    pub most: i32,
    /// How long a reported sandbox is kept for follow-ups, in seconds.
    pub rest_seconds: u32,
    /// How the control plane runs as functions over queues, if it does not run in this process.
    pub functions: Option<Functions>,
}

/// A running stack. End it; one that is dropped leaves its end to the next start.
#[derive(Debug)]
pub struct Stack {
    checkout: Checkout,
    file: StackFile,
    plane: Plane,
    children: Children,
    _lock: Lock,
}

impl Stack {
    /// Starts everything and waits until each part serves.
    pub async fn start(checkout: &Checkout, size: Size) -> Result<Self> {
        let lock = Lock::take(checkout)?;
        let image = image::build(checkout).await?;
        let database = postgres(checkout, |cluster| Ok(cluster.start()?.url)).await?;
        let secrets = StackSecrets::open(checkout)?;
        let ports = Ports::choose(checkout)?;
        let (database, deploy) = Database::deploy(database, &secrets).await?;
        // The lock says that no other relay runs; a killed one holds steps that nobody carries out.
        let released = deploy.release_leases().await?;
        if released > 0 {
            tracing::info!(released, "Took up the steps of a stack that was killed");
        }
        let store = database.store(Role::Engine, CONNECTIONS).await?;
        let mut choices = Choices::from_env();
        choices.accepted_risks = risks::accepted(checkout, &image, &choices).await?;
        let platform = control::platform(store, &ports, &secrets, &choices.accepted_risks)?;
        let now = platform.clock.now();
        seed::seed(&deploy, &secrets, &image.reference, &size, now).await?;
        let given = Parts {
            checkout,
            ports: &ports,
            secrets: &secrets,
            choices: &choices,
            database: &database,
        };
        let mut plane = Plane::open(given, platform, size.functions.as_ref()).await?;
        let children = Plans {
            checkout,
            ports: &ports,
            secrets: &secrets,
            choices: &choices,
            database: &database,
            images: image.folder,
            rest_seconds: size.rest_seconds,
        };
        let children = Children::start(children.programs()?, &api::http()?).await?;
        plane.begin(&ports, &secrets).await?;
        let file = stack_file(&ports, &secrets, database.owner().to_owned())?;
        file.write(&StackFile::path(checkout)?)?;
        Ok(Self {
            checkout: checkout.clone(),
            file,
            plane,
            children,
            _lock: lock,
        })
    }

    /// Where everything is.
    #[must_use]
    pub const fn file(&self) -> &StackFile {
        &self.file
    }

    /// Ends everything in order. Unfinished investigations are named; they go on at the next start.
    pub async fn end(mut self) -> Result<()> {
        self.plane.refuse_alerts();
        self.plane.stop_engine().await;
        if let Err(error) = ending::clear(self.plane.platform()).await {
            say(&format!(
                "some sandboxes are left to the next start: {error:#}"
            ));
        }
        for id in ending::unfinished(self.plane.platform())
            .await
            .unwrap_or_default()
        {
            say(&format!(
                "{id} is not finished; it goes on at the next start"
            ));
        }
        self.children.end().await;
        self.plane.close().await;
        postgres(&self.checkout, |cluster| Ok(cluster.stop()?)).await?;
        std::fs::remove_file(StackFile::path(&self.checkout)?)
            .context("cannot remove .local/stack.json")
    }
}

/// Does something with the private cluster on a thread that may block. Whoever holds the stack's
/// lock may stop the cluster, whoever started it: a killed stack leaves its cluster running.
async fn postgres<T: Send + 'static>(
    checkout: &Checkout,
    act: impl FnOnce(&Cluster) -> Result<T> + Send + 'static,
) -> Result<T> {
    let local = checkout.local()?;
    tokio::task::spawn_blocking(move || act(&Cluster::locate(&local, "pg")?)).await?
}

fn stack_file(ports: &Ports, secrets: &StackSecrets, database: String) -> Result<StackFile> {
    let intake = ports.url("intake");
    let endpoints = seed::SOURCES.map(|source| -> Result<EndpointAddress> {
        let path = secrets.of(&format!("address/{source}"))?;
        Ok(EndpointAddress {
            source: source.to_owned(),
            url: format!("{intake}/v1/hooks/{path}"),
            secret: secrets.of(&format!("webhook/{source}"))?.to_owned(),
        })
    });
    let mcp = |name: &str| format!("{}/mcp", ports.url(name));
    Ok(StackFile {
        intake,
        api: ports.url("api"),
        token: secrets.of("api/token")?.to_owned(),
        tenant: seed::TENANT.to_owned(),
        console: None,
        endpoints: endpoints.into_iter().collect::<Result<_>>()?,
        mcp: McpServers {
            telemetry: mcp("telemetry"),
            codebase: mcp("codebase"),
            casebook: mcp("casebook"),
        },
        llm: ports.url("llm"),
        machines: ports.url("machines"),
        database,
    })
}
