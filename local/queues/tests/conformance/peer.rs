//! Whom the checks ask, through AWS's own SDK.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use chrono::TimeDelta;
use nightshift_queues::{Account, Dials, Identity, Queues, router};
use tokio::net::TcpListener;

/// A service that claims to be SQS.
pub(crate) struct Peer {
    pub(crate) client: Client,
    pub(crate) url: String,
    clock: Option<Queues>,
    prefix: String,
}

impl Peer {
    /// A simulator of its own on a free port.
    pub(crate) async fn simulator(check: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let identity = Identity {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: url.clone(),
        };
        let queues = Queues::in_memory(Account::new(identity, 1, Dials::default()));
        let app = router(queues.clone(), false);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self::at(&url, check, Some(queues))
    }

    /// A ministack that others may use at the same time.
    pub(crate) fn ministack(url: &str, check: &str, run: &str) -> Self {
        Self::at(url, &format!("{run}-{check}"), None)
    }

    fn at(url: &str, check: &str, clock: Option<Queues>) -> Self {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(url)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(RetryConfig::disabled())
            .build();
        Self {
            client: Client::from_conf(config),
            url: url.to_owned(),
            clock,
            prefix: check.chars().take(50).collect(),
        }
    }

    pub(crate) fn moves_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Lets so much time pass: at once where the clock can be moved.
    pub(crate) async fn pass(&self, seconds: u32) {
        match &self.clock {
            Some(queues) => queues.advance(TimeDelta::seconds(seconds.into())),
            None => {
                tokio::time::sleep(Duration::from_millis(u64::from(seconds) * 1_000 + 200)).await;
            }
        }
    }

    /// A queue's name that no other check uses.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Makes a standard queue.
    pub(crate) async fn queue(&self, name: &str, attributes: &[(&str, &str)]) -> Result<String> {
        let mut create = self.client.create_queue().queue_name(self.name(name));
        for (key, value) in attributes {
            create = create.attributes(QueueAttributeName::from(*key), *value);
        }
        let made = create.send().await.context("a queue could not be made")?;
        made.queue_url.context("a queue without a URL")
    }

    /// Makes a FIFO queue.
    pub(crate) async fn fifo(&self, name: &str, attributes: &[(&str, &str)]) -> Result<String> {
        let attributes: Vec<_> = attributes
            .iter()
            .copied()
            .chain([("FifoQueue", "true")])
            .collect();
        self.queue(&format!("{name}.fifo"), &attributes).await
    }

    /// Makes a queue that gives messages up to the other after so many receives.
    pub(crate) async fn redriven(&self, name: &str, target: &str, count: u32) -> Result<String> {
        let policy = self.redrive(target, count).await?;
        let attributes = [
            ("RedrivePolicy", policy.as_str()),
            ("VisibilityTimeout", "1"),
        ];
        if name.ends_with(".fifo") {
            self.fifo(name.trim_end_matches(".fifo"), &attributes).await
        } else {
            self.queue(name, &attributes).await
        }
    }

    pub(crate) async fn redrive(&self, target: &str, count: u32) -> Result<String> {
        let arn = self.arn(target).await?;
        Ok(format!(
            r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{count}}}"#
        ))
    }

    pub(crate) async fn arn(&self, url: &str) -> Result<String> {
        self.attribute(url, "QueueArn").await
    }

    pub(crate) async fn attribute(&self, url: &str, name: &str) -> Result<String> {
        let name = QueueAttributeName::from(name);
        let asked = self
            .client
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(name.clone());
        let attributes = asked.send().await?.attributes.unwrap_or_default();
        attributes
            .get(&name)
            .cloned()
            .with_context(|| format!("no attribute {name}"))
    }

    pub(crate) async fn set(&self, url: &str, name: &str, value: &str) -> Result<()> {
        let set = self.client.set_queue_attributes().queue_url(url);
        set.attributes(QueueAttributeName::from(name), value)
            .send()
            .await?;
        Ok(())
    }

    /// Sends a text and returns the message's id.
    pub(crate) async fn send(&self, url: &str, body: &str) -> Result<String> {
        let sent = self
            .client
            .send_message()
            .queue_url(url)
            .message_body(body)
            .send()
            .await?;
        sent.message_id.context("a message without an id")
    }

    /// Sends a text to a group. The text is the deduplication id too.
    pub(crate) async fn send_to(&self, url: &str, group: &str, body: &str) -> Result<String> {
        let send = self.client.send_message().queue_url(url).message_body(body);
        let sent = send
            .message_group_id(group)
            .message_deduplication_id(body)
            .send()
            .await?;
        sent.message_id.context("a message without an id")
    }

    /// Takes what is there now.
    pub(crate) async fn receive(&self, url: &str, most: i32) -> Result<Vec<Message>> {
        let receive = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(most);
        let receive = receive
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All");
        Ok(receive.send().await?.messages.unwrap_or_default())
    }

    /// Takes one message that must be there.
    pub(crate) async fn receive_one(&self, url: &str) -> Result<Message> {
        self.receive(url, 1)
            .await?
            .pop()
            .context("there is no message")
    }

    pub(crate) async fn delete(&self, url: &str, message: &Message) -> Result<()> {
        let handle = message.receipt_handle().unwrap_or_default();
        self.client
            .delete_message()
            .queue_url(url)
            .receipt_handle(handle)
            .send()
            .await?;
        Ok(())
    }

    pub(crate) async fn hide(&self, url: &str, message: &Message, seconds: i32) -> Result<()> {
        let handle = message.receipt_handle().unwrap_or_default();
        let change = self
            .client
            .change_message_visibility()
            .queue_url(url)
            .receipt_handle(handle);
        change.visibility_timeout(seconds).send().await?;
        Ok(())
    }
}

/// The texts of messages.
pub(crate) fn bodies(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.body().unwrap_or_default())
        .collect()
}

/// One of a message's system attributes.
pub(crate) fn system(message: &Message, name: &MessageSystemAttributeName) -> String {
    let attributes = message.attributes.as_ref();
    attributes
        .and_then(|all| all.get(name))
        .cloned()
        .unwrap_or_default()
}
