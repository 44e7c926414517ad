//! The queues of an installation, strict, on this machine.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result, ensure};
use chrono::TimeDelta;
use nightshift_lambda::{Aws, Environment, Queue};
use nightshift_queues::{
    Account, Dials, Identity, Queues,
    actions::{
        CreateQueue, DeleteMessage, ReceiveMessage, ReceivedMessage, SendMessage,
        SetQueueAttributes,
    },
    router,
};
use nightshift_tests::World;
use serde_json::json;
use tokio::net::TcpListener;

const PREFIX: &str = "test-";

/// The queues, and what sends to them.
pub(super) struct Sqs {
    queues: Queues,
    endpoint: String,
    pub(super) carrier: Arc<nightshift_lambda::Sqs>,
}

impl Sqs {
    /// Serves every queue, with its dead-letter queue.
    pub(super) async fn serve(world: &World) -> Result<Self> {
        let sqs = Self::serve_without_queues(world).await?;
        sqs.create()?;
        Ok(sqs)
    }

    /// Serves an account in which nobody has made a queue yet.
    pub(super) async fn serve_without_queues(world: &World) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let identity = Identity {
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            endpoint: endpoint.clone(),
        };
        let queues = Queues::in_memory(Account::new(identity, 1, Dials::default()));
        let served = router(queues.clone(), false);
        tokio::spawn(async move { axum::serve(listener, served).await });
        let mut env = Environment::of([
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "a-secret"),
        ]);
        let aws = Aws::from_env(&mut env).context("no credentials")?;
        let prefix = format!("{endpoint}/123456789012/{PREFIX}");
        let carrier =
            nightshift_lambda::Sqs::new(aws, prefix.parse()?, None, Arc::new(world.clock.clone()));
        Ok(Self {
            queues,
            endpoint,
            carrier: Arc::new(carrier),
        })
    }

    pub(super) fn create(&self) -> Result<()> {
        for queue in Queue::ALL {
            self.make(queue.dead_name(), queue.is_fifo())?;
            let url = self.make(queue.name(), queue.is_fifo())?;
            let dead = self
                .queues
                .with(|account, _| account.arn(&named(queue.dead_name())));
            let redrive = json!({"deadLetterTargetArn": dead, "maxReceiveCount": 5});
            self.queues.perform(SetQueueAttributes {
                queue_url: url,
                attributes: [("RedrivePolicy".to_owned(), redrive.to_string())].into(),
            })?;
        }
        Ok(())
    }

    fn make(&self, name: &str, is_fifo: bool) -> Result<String> {
        let kind = is_fifo.then(|| ("FifoQueue".to_owned(), "true".to_owned()));
        let create = CreateQueue {
            queue_name: named(name),
            attributes: kind.into_iter().collect::<BTreeMap<_, _>>(),
            ..CreateQueue::default()
        };
        Ok(self.queues.perform(create)?.queue_url)
    }

    fn url(&self, name: &str) -> String {
        format!("{}/123456789012/{}", self.endpoint, named(name))
    }

    /// What a queue holds, visible or not.
    pub(super) fn bodies(&self, name: &str) -> Vec<String> {
        self.queues
            .with(|account, now| account.bodies(&named(name), now))
    }

    pub(super) fn receive(&self, name: &str) -> Result<Vec<ReceivedMessage>> {
        let received = self.queues.perform(ReceiveMessage {
            queue_url: self.url(name),
            max_number_of_messages: Some(10),
            message_system_attribute_names: vec!["All".to_owned()],
            ..ReceiveMessage::default()
        })?;
        Ok(received.messages)
    }

    pub(super) fn delete(&self, name: &str, message: &ReceivedMessage) -> Result<()> {
        self.queues.perform(DeleteMessage {
            queue_url: self.url(name),
            receipt_handle: message.receipt_handle.clone(),
        })?;
        Ok(())
    }

    pub(super) fn send(&self, name: &str, group: &str, body: &str) -> Result<()> {
        self.queues.perform(SendMessage {
            queue_url: self.url(name),
            message_body: body.to_owned(),
            message_group_id: Some(group.to_owned()),
            ..SendMessage::default()
        })?;
        Ok(())
    }

    /// Until everything that is hidden shows itself again.
    pub(super) fn let_time_pass(&self) {
        self.queues.advance(TimeDelta::seconds(31));
    }

    /// The identity of the one message in a queue, which stays visible.
    pub(super) fn only_id(&self, name: &str) -> Result<String> {
        let received = self.queues.perform(ReceiveMessage {
            queue_url: self.url(name),
            visibility_timeout: Some(0),
            ..ReceiveMessage::default()
        })?;
        ensure!(received.messages.len() == 1, "not one message");
        let first = received.messages.into_iter().next();
        Ok(first.context("no message")?.message_id)
    }

    /// Lets a queue show a message once more, even after its deletion.
    pub(super) fn duplicate(&self, name: &str, id: &str) -> bool {
        self.queues
            .with(|account, _| account.duplicate(&named(name), id))
    }
}

fn named(name: &str) -> String {
    format!("{PREFIX}{name}")
}
