//! Functions and queues in this process.
//!
//! The queues are kept in a journal, so a stack that is killed loses no message, as SQS would not.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use axum::Router;
use nightshift_queues::{
    Account, Dials, Identity, Journal, Queues, Refusal,
    actions::{CreateQueue, SetQueueAttributes},
    mapping::{self, Polled, Settings},
    runtime::{Host, Invoke},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{ACCOUNT, Functions, REGION, functions, owner, steps};
use crate::up::plane::Parts;

/// What SQS reserves to itself on standard queues, a little of each, so that nobody gets used to better.
const DIALS: Dials = Dials {
    duplicate: 0.01,
    reorder: 0.05,
    overlook: 0.0,
};

/// Functions and queues in this process.
#[derive(Debug)]
pub(super) struct Here {
    host: Host,
    queues: Queues,
    how: Functions,
}

impl Here {
    /// Opens the queues and deploys the functions; none of them is started before it is invoked.
    pub(super) fn open(parts: Parts<'_>, how: &Functions) -> Result<Self> {
        let queues = open_queues(parts)?;
        for spec in steps::all(how)? {
            put(&queues, &spec.dead, spec.is_fifo, steps::dead_attributes())?;
            let dead_arn = queues.with(|account, _| account.arn(&spec.dead));
            put(
                &queues,
                &spec.name,
                spec.is_fifo,
                spec.attributes(&dead_arn),
            )?;
        }
        let logs = parts.checkout.logs()?.join("functions");
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("cannot make {}", logs.display()))?;
        let functions = functions::all(parts, how, &parts.ports.url("queues"))?;
        let host = Host::deploy(owner(), functions, &logs)?;
        let how = how.clone();
        Ok(Self { host, queues, how })
    }

    /// The queues as SQS.
    pub(super) fn sqs(&self) -> Router {
        nightshift_queues::router(self.queues.clone(), false)
    }

    /// One of the functions.
    pub(super) fn function(&self, name: &str) -> Arc<dyn Invoke> {
        Arc::new((self.host.clone(), name.to_owned()))
    }

    /// Maps each queue to its function, until told to stop.
    pub(super) fn poll(&self, stop: &watch::Sender<bool>) -> Result<Vec<JoinHandle<()>>> {
        let mut polling = Vec::new();
        for spec in steps::all(&self.how)? {
            let (arn, url) = self
                .queues
                .with(|account, _| (account.arn(&spec.name), account.url(&spec.name)));
            let settings = Settings {
                queue_arn: arn,
                region: REGION.to_owned(),
                function: spec.function.to_owned(),
                batch_size: spec.batch_size,
                window: spec.window,
                maximum_concurrency: Some(spec.concurrency),
                reports_item_failures: true,
            };
            let source = Polled::find(self.queues.clone(), url, spec.timeout)?;
            settings.check(source.facts())?;
            let function = self.function(spec.function);
            let running = mapping::run(settings, Arc::new(source), function, stop.subscribe());
            polling.push(tokio::spawn(running));
        }
        Ok(polling)
    }

    /// Ends the functions' instances.
    pub(super) async fn end(&self) {
        self.host.end().await;
    }
}

fn open_queues(parts: Parts<'_>) -> Result<Queues> {
    let identity = Identity {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        endpoint: parts.ports.url("queues"),
    };
    let path = parts.checkout.local()?.join("queues.journal");
    let empty = Account::new(identity, rand::random(), DIALS);
    let (journal, account) = Journal::open(&path, empty)?;
    Ok(Queues::kept(account, journal))
}

/// Creates a queue or brings it up to date. In two calls: an existing queue refuses to be created with
/// other attributes.
fn put(
    queues: &Queues,
    name: &str,
    is_fifo: bool,
    attributes: BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let kind = is_fifo.then(|| ("FifoQueue".to_owned(), "true".to_owned()));
    let create = CreateQueue {
        queue_name: name.to_owned(),
        attributes: kind.into_iter().collect(),
        ..CreateQueue::default()
    };
    let queue_url = queues.perform(create)?.queue_url;
    queues.perform(SetQueueAttributes {
        queue_url,
        attributes,
    })?;
    Ok(())
}
