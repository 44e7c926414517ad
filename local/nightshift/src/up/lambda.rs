//! The control plane as functions: the real binaries behind a host that does as Lambda does, steps over
//! queues that do as SQS does.
//!
//! The queues are kept in a journal, so a stack that is killed loses no message, as SQS would not.

mod functions;
mod schedule;
mod steps;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::Router;
use nightshift_engine::Platform;
use nightshift_queues::{
    Account, Dials, Identity, Journal, Queues, front, mapping,
    runtime::{Host, Owner},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    control::{end, listen, serve},
    plane::Parts,
    ports::Ports,
};
use crate::checkout::Checkout;

/// The account that the functions are in.
const ACCOUNT: &str = "000000000000";
/// Its region.
const REGION: &str = "eu-west-1";

/// The control plane as functions.
#[derive(Debug)]
pub(super) struct Lambda {
    /// What the use cases run on, for what a stack does itself at its end.
    pub(super) platform: Platform,
    host: Host,
    queues: Queues,
    sweep_every: Duration,
    servers: Vec<JoinHandle<()>>,
    engine: Vec<JoinHandle<()>>,
    stop_intake: watch::Sender<bool>,
    stop_engine: watch::Sender<bool>,
    stop_servers: watch::Sender<bool>,
}

impl Lambda {
    /// Serves the queues, session and the API. Nothing is taken in yet.
    pub(super) async fn open(
        parts: Parts<'_>,
        platform: Platform,
        sweep_every: Duration,
    ) -> Result<Self> {
        let Parts {
            checkout, ports, ..
        } = parts;
        let queues = open_queues(checkout, ports)?;
        let logs = checkout.logs()?.join("functions");
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("cannot make {}", logs.display()))?;
        let functions = functions::all(parts)?;
        steps::create(&queues)?;
        let host = Host::deploy(owner(), functions, &logs)?;
        let mut lambda = Self {
            platform,
            host,
            queues,
            sweep_every,
            servers: Vec::new(),
            engine: Vec::new(),
            stop_intake: watch::channel(false).0,
            stop_engine: watch::channel(false).0,
            stop_servers: watch::channel(false).0,
        };
        let sqs = nightshift_queues::router(lambda.queues.clone(), false);
        lambda.serve(ports.address("queues"), sqs).await?;
        for function in ["session", "api"] {
            let router = front::router(lambda.host.clone(), function);
            lambda.serve(ports.address(function), router).await?;
        }
        Ok(lambda)
    }

    /// Begins to work: the mappings, the schedule, and alert intake last.
    pub(super) async fn begin(&mut self, ports: &Ports) -> Result<()> {
        for (settings, source) in steps::mappings(&self.queues, &self.host)? {
            let function = Arc::new((self.host.clone(), settings.function.clone()));
            let stop = self.stop_engine.subscribe();
            self.engine.push(tokio::spawn(mapping::run(
                settings,
                Arc::new(source),
                function,
                stop,
            )));
        }
        let stop = self.stop_engine.subscribe();
        self.engine.push(tokio::spawn(schedule::run(
            self.host.clone(),
            self.sweep_every,
            stop,
        )));
        let intake = front::router(self.host.clone(), "alert-intake");
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
    }

    /// Ends what is left.
    pub(super) async fn close(mut self) {
        self.refuse_alerts();
        self.stop_engine().await;
        self.stop_servers.send_replace(true);
        end(self.servers.drain(..)).await;
        self.host.end().await;
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

fn open_queues(checkout: &Checkout, ports: &Ports) -> Result<Queues> {
    let identity = Identity {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        endpoint: ports.url("queues"),
    };
    let path = checkout.local()?.join("queues.journal");
    let empty = Account::new(identity, rand::random(), Dials::default());
    let (journal, account) = Journal::open(&path, empty)?;
    Ok(Queues::kept(account, journal))
}
