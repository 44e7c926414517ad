//! The control plane as functions: the real binaries behind a host that does as Lambda does, steps over
//! queues that do as SQS does; or both in another stand-in for AWS.

mod functions;
mod here;
mod remote;
mod schedule;
mod steps;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use axum::Router;
use nightshift_engine::Platform;
use nightshift_queues::{
    front,
    runtime::{Invoke, Owner},
};
use tokio::{sync::watch, task::JoinHandle};

use self::{here::Here, remote::Remote};
use super::{
    control::{end, listen, serve},
    plane::Parts,
    ports::Ports,
};

/// The account that the functions are in.
const ACCOUNT: &str = "000000000000";
/// Its region.
const REGION: &str = "eu-west-1";

/// How the control plane runs as functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Functions {
    /// How often they sweep.
    pub sweep_every: Duration,
    /// What no invocation may exceed, even where the function's own limit is higher.
    pub longest: Option<Duration>,
    /// Whether the version before is still in service beside this one, as while a deploy rolls out.
    pub side_by_side: bool,
    /// Where else than in this process functions and queues are.
    pub elsewhere: Option<Elsewhere>,
}

/// A stand-in for AWS that takes zips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its base URL.
    pub url: String,
    /// The folder of the zips.
    pub zips: PathBuf,
}

/// The functions' names, which are those of their binaries.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    functions::FUNCTIONS.iter().map(|limits| limits.name)
}

/// The control plane as functions.
#[derive(Debug)]
pub(super) struct Lambda {
    /// What the use cases run on, for what a stack does itself at its end.
    pub(super) platform: Platform,
    cloud: Cloud,
    sweep_every: Duration,
    servers: Vec<JoinHandle<()>>,
    engine: Vec<JoinHandle<()>>,
    stop_intake: watch::Sender<bool>,
    stop_engine: watch::Sender<bool>,
    stop_servers: watch::Sender<bool>,
}

/// Where the functions and the queues are.
#[derive(Debug)]
enum Cloud {
    Here(Here),
    Remote(Remote),
}

impl Lambda {
    /// Deploys the functions and serves session and the API. Nothing is taken in yet.
    pub(super) async fn open(
        parts: Parts<'_>,
        platform: Platform,
        how: &Functions,
    ) -> Result<Self> {
        let cloud = match &how.elsewhere {
            None => Cloud::Here(Here::open(parts, how)?),
            Some(elsewhere) => Cloud::Remote(Remote::open(parts, how, elsewhere).await?),
        };
        let mut lambda = Self {
            platform,
            cloud,
            sweep_every: how.sweep_every,
            servers: Vec::new(),
            engine: Vec::new(),
            stop_intake: watch::channel(false).0,
            stop_engine: watch::channel(false).0,
            stop_servers: watch::channel(false).0,
        };
        if let Cloud::Here(here) = &lambda.cloud {
            let sqs = here.sqs();
            lambda.serve(parts.ports.address("queues"), sqs).await?;
        }
        for function in ["session", "api"] {
            let router = front::router(owner(), lambda.function(function));
            lambda.serve(parts.ports.address(function), router).await?;
        }
        Ok(lambda)
    }

    /// Begins to work: the mappings, the schedule, and alert intake last.
    pub(super) async fn begin(&mut self, ports: &Ports) -> Result<()> {
        match &self.cloud {
            Cloud::Here(here) => self.engine.extend(here.poll(&self.stop_engine)?),
            Cloud::Remote(remote) => remote.begin().await?,
        }
        let stop = self.stop_engine.subscribe();
        let sweep = schedule::run(self.function("sweep"), self.sweep_every, stop);
        self.engine.push(tokio::spawn(sweep));
        let intake = front::router(owner(), self.function("alert-intake"));
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

    /// Carries out no more steps; those under way may finish, the others stay in their queues.
    pub(super) async fn stop_engine(&mut self) {
        self.stop_engine.send_replace(true);
        end(self.engine.drain(..)).await;
        if let Cloud::Remote(remote) = &self.cloud
            && let Err(error) = remote.stop().await
        {
            tracing::warn!(?error, "The mappings could not be stopped");
        }
    }

    /// Ends what is left.
    pub(super) async fn close(mut self) {
        self.refuse_alerts();
        self.stop_engine().await;
        self.stop_servers.send_replace(true);
        end(self.servers.drain(..)).await;
        if let Cloud::Here(here) = &self.cloud {
            here.end().await;
        }
    }

    fn function(&self, name: &str) -> Arc<dyn Invoke> {
        match &self.cloud {
            Cloud::Here(here) => here.function(name),
            Cloud::Remote(remote) => remote.function(name),
        }
    }

    async fn serve(&mut self, address: SocketAddr, router: Router) -> Result<()> {
        let listener = listen(address).await?;
        let stopped = self.stop_servers.subscribe();
        self.servers
            .push(tokio::spawn(serve(listener, router, stopped)));
        Ok(())
    }
}

fn owner() -> Owner {
    Owner {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
    }
}
