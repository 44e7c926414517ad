//! A queue, and a function that asks the test what to answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use nightshift_queues::{
    Account, Dials, Identity, Queues,
    actions::{CreateQueue, SendMessage},
    mapping::{self, Polled, Settings},
    runtime::{FunctionError, Invoke, InvokeError},
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

/// Longer than anything here takes, shorter than a person waits.
const PATIENCE: Duration = Duration::from_secs(20);
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(1);

type Outcome = Result<Bytes, InvokeError>;

/// One queue.
pub(crate) struct World {
    pub(crate) queues: Queues,
    url: String,
    name: String,
}

impl World {
    pub(crate) fn standard(visibility: u32) -> Self {
        Self::new("steps", visibility, &[])
    }

    pub(crate) fn fifo(visibility: u32) -> Self {
        Self::new(
            "steps.fifo",
            visibility,
            &[("FifoQueue", "true".to_owned())],
        )
    }

    pub(crate) fn with_dead_letters(visibility: u32, receives: u32) -> Self {
        let policy = json!({
            "deadLetterTargetArn": "arn:aws:sqs:eu-west-1:123456789012:steps-dead",
            "maxReceiveCount": receives,
        });
        Self::new(
            "steps",
            visibility,
            &[("RedrivePolicy", policy.to_string())],
        )
    }

    fn new(name: &str, visibility: u32, more: &[(&str, String)]) -> Self {
        let identity = Identity {
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            endpoint: "http://127.0.0.1:9".to_owned(),
        };
        let queues = Queues::in_memory(Account::new(identity, 1, Dials::default()));
        let create = |name: &str, attributes: BTreeMap<String, String>| {
            let queue_name = name.to_owned();
            queues
                .perform(CreateQueue {
                    queue_name,
                    attributes,
                    ..CreateQueue::default()
                })
                .unwrap()
        };
        create("steps-dead", BTreeMap::new());
        let more = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let visibility = ("VisibilityTimeout".to_owned(), visibility.to_string());
        let url = create(name, more.chain([visibility]).collect()).queue_url;
        Self {
            queues,
            url,
            name: name.to_owned(),
        }
    }

    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:sqs:eu-west-1:123456789012:{}", self.name)
    }

    /// Ten at once, no window, failures by item.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            queue_arn: self.arn(),
            region: "eu-west-1".to_owned(),
            function: "f".to_owned(),
            batch_size: 10,
            window: Duration::ZERO,
            maximum_concurrency: None,
            reports_item_failures: true,
        }
    }

    pub(crate) fn send(&self, bodies: &[&str]) {
        for body in bodies {
            self.put(SendMessage {
                message_body: (*body).to_owned(),
                ..SendMessage::default()
            });
        }
    }

    pub(crate) fn send_in(&self, group: &str, bodies: &[&str]) {
        for body in bodies {
            self.put(SendMessage {
                message_body: (*body).to_owned(),
                message_group_id: Some(group.to_owned()),
                message_deduplication_id: Some(body[..body.len().min(40)].to_owned()),
                ..SendMessage::default()
            });
        }
    }

    fn put(&self, message: SendMessage) {
        self.queues
            .perform(SendMessage {
                queue_url: self.url.clone(),
                ..message
            })
            .unwrap();
    }

    /// What the queue holds, visible or not.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.queues
            .with(|account, now| account.bodies(&self.name, now))
    }

    pub(crate) fn dead(&self) -> Vec<String> {
        self.queues
            .with(|account, now| account.bodies("steps-dead", now))
    }

    pub(crate) async fn becomes_empty(&self) {
        for _ in 0..200 {
            if self.bodies().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("left: {:?}", self.bodies());
    }

    /// Runs a mapping to a function that the test plays.
    pub(crate) fn map(&self, settings: Settings) -> Function {
        let polled = Polled::find(self.queues.clone(), self.url.clone(), FUNCTION_TIMEOUT).unwrap();
        settings.check(polled.facts()).unwrap();
        let (calls, called) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let running = mapping::run(settings, Arc::new(polled), Arc::new(Asking(calls)), stopped);
        Function {
            called,
            stop,
            running: Some(tokio::spawn(running)),
        }
    }
}

/// The function's side of a mapping.
pub(crate) struct Function {
    called: mpsc::UnboundedReceiver<Call>,
    stop: watch::Sender<bool>,
    running: Option<JoinHandle<()>>,
}

/// One invocation, which waits for an answer.
pub(crate) struct Call {
    pub(crate) event: Value,
    reply: oneshot::Sender<Outcome>,
}

struct Asking(mpsc::UnboundedSender<Call>);

impl Function {
    pub(crate) async fn called(&mut self) -> Call {
        self.called_within(PATIENCE).await.unwrap()
    }

    pub(crate) async fn called_within(&mut self, patience: Duration) -> Option<Call> {
        tokio::time::timeout(patience, self.called.recv())
            .await
            .ok()
            .flatten()
    }

    pub(crate) async fn is_left_alone(&mut self, time: Duration) {
        let call = self.called_within(time).await;
        assert!(
            call.is_none(),
            "invoked with {:?}",
            call.map(|call| call.bodies())
        );
    }

    /// Tells the mapping to stop; what is returned ends when it did.
    pub(crate) fn stop(&mut self) -> JoinHandle<()> {
        self.stop.send_replace(true);
        self.running.take().unwrap()
    }
}

impl Call {
    pub(crate) fn bodies(&self) -> Vec<String> {
        let records = self.event["Records"].as_array().unwrap();
        records
            .iter()
            .map(|record| record["body"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn id_of(&self, body: &str) -> String {
        let records = self.event["Records"].as_array().unwrap();
        let found = records
            .iter()
            .find(|record| record["body"] == body)
            .unwrap();
        found["messageId"].as_str().unwrap().to_owned()
    }

    pub(crate) fn answer(self, answer: &Value) {
        self.reply(Ok(answer.to_string().into()));
    }

    pub(crate) fn reply(self, outcome: Outcome) {
        let _ = self.reply.send(outcome);
    }
}

impl Invoke for Asking {
    fn invoke(&self, event: Bytes) -> futures_util::future::BoxFuture<'_, Outcome> {
        let event = serde_json::from_slice(&event).unwrap();
        let (reply, replied) = oneshot::channel();
        let _ = self.0.send(Call { event, reply });
        Box::pin(async move { replied.await.unwrap_or(Err(InvokeError::Ending)) })
    }
}

pub(crate) fn ok() -> Value {
    json!({"batchItemFailures": []})
}

pub(crate) fn failed(ids: &[&str]) -> Value {
    let items: Vec<Value> = ids.iter().map(|id| json!({"itemIdentifier": id})).collect();
    json!({"batchItemFailures": items})
}

pub(crate) fn all_failed(event: &Value) -> Value {
    let ids = ids(event);
    failed(&ids.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(crate) fn ids(event: &Value) -> Vec<String> {
    let records = event["Records"].as_array().unwrap();
    records
        .iter()
        .map(|record| record["messageId"].as_str().unwrap().to_owned())
        .collect()
}

pub(crate) fn crashed() -> InvokeError {
    InvokeError::Failed(FunctionError {
        function: "f".to_owned(),
        kind: "Runtime.ExitError".to_owned(),
        message: "gone".to_owned(),
        tail: String::new(),
    })
}
