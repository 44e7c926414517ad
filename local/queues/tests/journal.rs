//! What survives when the process is killed: the real binary, killed with SIGKILL.

#![expect(clippy::unwrap_used, reason = "a helper fails its test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use nightshift_queues::actions::{CreateQueue, DeleteMessage, ReceiveMessage, SendMessage};
use nightshift_queues::{Account, Dials, Identity, Journal, Queues};

/// The binary, serving on an address of its own.
struct Server {
    process: Child,
    client: Client,
}

impl Server {
    async fn start(journal: &Path) -> Self {
        let address = free_address();
        let process = Command::new(env!("CARGO_BIN_EXE_queues"))
            .args([
                "--exit-with-parent",
                "--listen",
                &address.to_string(),
                "--journal",
            ])
            .arg(journal)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(format!("http://{address}"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let client = Client::from_conf(config);
        while client.list_queues().send().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { process, client }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[tokio::test]
async fn a_killed_server_has_every_message_it_accepted_and_none_that_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("queues.journal");
    let server = Server::start(&journal).await;
    let url = server
        .client
        .create_queue()
        .queue_name("q")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    for index in 0..30 {
        server
            .client
            .send_message()
            .queue_url(&url)
            .message_body(index.to_string())
            .send()
            .await
            .unwrap();
    }
    let deleted = server
        .client
        .receive_message()
        .queue_url(&url)
        .send()
        .await
        .unwrap()
        .messages
        .unwrap()
        .remove(0);
    let handle = deleted.receipt_handle().unwrap();
    server
        .client
        .delete_message()
        .queue_url(&url)
        .receipt_handle(handle)
        .send()
        .await
        .unwrap();
    let held = server
        .client
        .receive_message()
        .queue_url(&url)
        .send()
        .await
        .unwrap()
        .messages
        .unwrap()
        .remove(0);
    server.kill();

    // Twice: the journal of a journal that was read is as good.
    Server::start(&journal).await.kill();
    let server = Server::start(&journal).await;
    let counts = server
        .client
        .get_queue_attributes()
        .queue_url(&url)
        .attribute_names(QueueAttributeName::All);
    let counts = counts.send().await.unwrap().attributes.unwrap();
    assert_eq!(
        counts[&QueueAttributeName::ApproximateNumberOfMessages],
        "28"
    );
    assert_eq!(
        counts[&QueueAttributeName::ApproximateNumberOfMessagesNotVisible],
        "1"
    );
    let handle = held.receipt_handle().unwrap();
    server
        .client
        .delete_message()
        .queue_url(&url)
        .receipt_handle(handle)
        .send()
        .await
        .unwrap();
    let mut left = Vec::new();
    loop {
        let receive = server
            .client
            .receive_message()
            .queue_url(&url)
            .max_number_of_messages(10);
        let messages = receive.send().await.unwrap().messages.unwrap_or_default();
        if messages.is_empty() {
            break;
        }
        left.extend(messages.into_iter().map(|message| message.body.unwrap()));
    }
    let gone = [deleted.body.unwrap(), held.body.unwrap()];
    let expected: Vec<_> = (0..30)
        .map(|index| index.to_string())
        .filter(|body| !gone.contains(body))
        .collect();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn half_a_line_at_the_end_is_an_action_that_nobody_heard_of() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("queues.journal");
    let server = Server::start(&journal).await;
    let url = server
        .client
        .create_queue()
        .queue_name("q")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    server
        .client
        .send_message()
        .queue_url(&url)
        .message_body("whole")
        .send()
        .await
        .unwrap();
    server.kill();
    let mut text = std::fs::read(&journal).unwrap();
    text.extend(br#"{"action":{"at":"2026-11-22T07:0"#);
    std::fs::write(&journal, text).unwrap();

    let server = Server::start(&journal).await;
    let messages = server
        .client
        .receive_message()
        .queue_url(&url)
        .send()
        .await
        .unwrap()
        .messages
        .unwrap();
    assert_eq!(messages[0].body(), Some("whole"));
}

/// Chance is replayed, not stored: what was drawn before the kill must be drawn again.
#[test]
fn a_journal_gives_back_the_same_handles_duplicates_and_memory_of_deduplication() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queues.journal");
    let dials = Dials {
        duplicate: 0.5,
        reorder: 0.5,
        overlook: 0.2,
    };
    let open = || {
        let identity = Identity {
            account: "000000000000".to_owned(),
            region: "eu-west-1".to_owned(),
            endpoint: "http://queues".to_owned(),
        };
        let (journal, account) = Journal::open(&path, Account::new(identity, 5, dials)).unwrap();
        Queues::kept(account, journal)
    };
    let queues = open();
    let create = |name: &str, attributes| CreateQueue {
        queue_name: name.to_owned(),
        attributes,
        ..CreateQueue::default()
    };
    let url = queues
        .perform(create("q", BTreeMap::new()))
        .unwrap()
        .queue_url;
    let fifo = BTreeMap::from([("FifoQueue".to_owned(), "true".to_owned())]);
    let fifo = queues.perform(create("q.fifo", fifo)).unwrap().queue_url;
    let once = SendMessage {
        queue_url: fifo,
        message_body: "once".to_owned(),
        message_group_id: Some("g".to_owned()),
        message_deduplication_id: Some("d".to_owned()),
        ..SendMessage::default()
    };
    let first = queues.perform(once.clone()).unwrap();
    let mut held = Vec::new();
    for index in 0..40 {
        let (queue_url, message_body) = (url.clone(), index.to_string());
        queues
            .perform(SendMessage {
                queue_url,
                message_body,
                ..SendMessage::default()
            })
            .unwrap();
        let receive = ReceiveMessage {
            queue_url: url.clone(),
            ..ReceiveMessage::default()
        };
        held.extend(queues.perform(receive).unwrap().messages);
    }
    let look = |queues: &Queues| {
        queues.with(|account, now| (account.bodies("q", now), account.counts("q", now)))
    };
    let before = look(&queues);
    assert!(
        before.0.len() > 45,
        "{} copies of 40 messages",
        before.0.len()
    );
    drop(queues);

    let queues = open();
    assert_eq!(look(&queues), before);
    assert_eq!(queues.perform(once).unwrap(), first);
    let count = held.len();
    for message in held {
        let delete = DeleteMessage {
            queue_url: url.clone(),
            receipt_handle: message.receipt_handle,
        };
        queues.perform(delete).unwrap();
    }
    assert_eq!(look(&queues).0.len(), before.0.len() - count);
}

#[tokio::test]
async fn two_servers_do_not_share_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("queues.journal");
    let _first = Server::start(&journal).await;
    let second = Command::new(env!("CARGO_BIN_EXE_queues"))
        .args(["--listen", "127.0.0.1:0", "--journal"])
        .arg(&journal)
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("is in use"), "{said}");
}

#[test]
fn the_binary_serves_loopback_only() {
    let output = Command::new(env!("CARGO_BIN_EXE_queues"))
        .args(["--listen", "0.0.0.0:0"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("not a loopback address"), "{said}");
}
