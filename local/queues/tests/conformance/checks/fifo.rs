//! FIFO queues: deduplication, groups as parameters, handles.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::types::MessageAttributeValue;

use crate::check::{Check, refused};
use crate::peer::{Peer, bodies};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        "group-is-required",
        "a FIFO queue's messages have a group",
        |p| Box::pin(group_required(p)),
    ),
    Check::new(
        "deduplication-is-required",
        "they have a deduplication id, unless the queue makes it from the content",
        |p| Box::pin(deduplication_required(p)),
    ),
    Check::new(
        "no-message-delay-on-fifo",
        "a FIFO queue's messages have no delay of their own",
        |p| Box::pin(no_delay(p)),
    ),
    Check::new(
        "same-message-within-5-minutes",
        "the same deduplication id within 5 minutes is accepted, not delivered, and answered like the first",
        |p| Box::pin(same_message(p)),
    ),
    Check::new(
        "same-message-after-its-deletion",
        "it is recognised after the first was received and deleted too",
        |p| Box::pin(after_deletion(p)),
    ),
    Check::new(
        "same-id-in-another-group",
        "the id counts for the whole queue, not for its group",
        |p| Box::pin(another_group(p)),
    ),
    Check::new(
        "deduplication-per-group",
        "with the scope messageGroup it counts for its group",
        |p| Box::pin(per_group(p)),
    ),
    Check::slow(
        "same-message-after-5-minutes",
        "after 5 minutes the same id is a new message",
        |p| Box::pin(after_five_minutes(p)),
    ),
    Check::new(
        "content-based-deduplication",
        "with content-based deduplication the same body is the same message, whatever its attributes",
        |p| Box::pin(content_based(p)),
    ),
    Check::new(
        "explicit-id-wins",
        "an explicit deduplication id replaces the content's",
        |p| Box::pin(explicit_wins(p)),
    ),
    Check::new("sequence-numbers-grow", "sequence numbers grow", |p| {
        Box::pin(sequence(p))
    }),
    Check::new(
        "expired-handle-is-refused",
        "on a FIFO queue a message whose visibility ended cannot be deleted with the old handle",
        |p| Box::pin(expired_handle(p)),
    ),
    Check::new(
        "receive-attempt",
        "a repeated receive attempt gets the same messages with the same handles",
        |p| Box::pin(attempt(p)),
    ),
    Check::new(
        "throughput-needs-scope",
        "throughput per group needs deduplication per group",
        |p| Box::pin(throughput(p)),
    ),
];

async fn group_required(peer: &Peer) -> Result<()> {
    let url = peer.fifo("q", &[]).await?;
    let send = peer.client.send_message().queue_url(url).message_body("a");
    refused(
        send.message_deduplication_id("d").send().await,
        "MissingParameter",
    )
}

async fn deduplication_required(peer: &Peer) -> Result<()> {
    let url = peer.fifo("q", &[]).await?;
    let send = peer.client.send_message().queue_url(url).message_body("a");
    refused(
        send.message_group_id("g").send().await,
        "InvalidParameterValue",
    )
}

async fn no_delay(peer: &Peer) -> Result<()> {
    let url = peer
        .fifo("q", &[("ContentBasedDeduplication", "true")])
        .await?;
    let send = peer
        .client
        .send_message()
        .queue_url(url)
        .message_body("a")
        .message_group_id("g");
    refused(send.delay_seconds(5).send().await, "InvalidParameterValue")
}

async fn same_message(peer: &Peer) -> Result<()> {
    let url = peer.fifo("q", &[]).await?;
    let send = |body: &str| {
        let send = peer
            .client
            .send_message()
            .queue_url(&url)
            .message_body(body);
        send.message_group_id("g")
            .message_deduplication_id("d")
            .send()
    };
    let (first, second) = (send("first").await?, send("second").await?);
    ensure!(
        first.message_id() == second.message_id(),
        "{first:?} {second:?}"
    );
    ensure!(
        first.sequence_number() == second.sequence_number(),
        "{first:?} {second:?}"
    );
    ensure!(
        bodies(&peer.receive(&url, 10).await?) == ["first"],
        "both were delivered"
    );
    Ok(())
}

async fn after_deletion(peer: &Peer) -> Result<()> {
    let url = peer.fifo("q", &[]).await?;
    peer.send_to(&url, "g", "a").await?;
    let message = peer.receive_one(&url).await?;
    peer.delete(&url, &message).await?;
    peer.send_to(&url, "g", "a").await?;
    ensure!(peer.receive(&url, 1).await?.is_empty(), "delivered again");
    Ok(())
}

async fn another_group(peer: &Peer) -> Result<()> {
    let url = peer.fifo("q", &[]).await?;
    peer.send_to(&url, "g", "a").await?;
    peer.send_to(&url, "h", "a").await?;
    ensure!(
        peer.receive(&url, 10).await?.len() == 1,
        "delivered in both groups"
    );
    Ok(())
}

async fn per_group(peer: &Peer) -> Result<()> {
    let url = peer
        .fifo("q", &[("DeduplicationScope", "messageGroup")])
        .await?;
    for group in ["g", "h", "g"] {
        peer.send_to(&url, group, "a").await?;
    }
    let received = peer.receive(&url, 10).await?;
    ensure!(received.len() == 2, "{} delivered", received.len());
    Ok(())
}

async fn after_five_minutes(peer: &Peer) -> Result<()> {
    let url = peer.fifo("q", &[]).await?;
    let first = peer.send_to(&url, "g", "a").await?;
    peer.pass(299).await;
    ensure!(
        peer.send_to(&url, "g", "a").await? == first,
        "forgotten too early"
    );
    peer.pass(1).await;
    ensure!(
        peer.send_to(&url, "g", "a").await? != first,
        "remembered too long, or the repetition prolonged it"
    );
    Ok(())
}

async fn content_based(peer: &Peer) -> Result<()> {
    let url = peer
        .fifo("q", &[("ContentBasedDeduplication", "true")])
        .await?;
    let send = |body: &str| {
        peer.client
            .send_message()
            .queue_url(&url)
            .message_body(body)
            .message_group_id("g")
    };
    send("a").send().await?;
    let attribute = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("v")
        .build()?;
    send("a")
        .message_attributes("name", attribute)
        .send()
        .await?;
    send("b").send().await?;
    let received = peer.receive(&url, 10).await?;
    ensure!(bodies(&received) == ["a", "b"], "{:?}", bodies(&received));
    Ok(())
}

async fn explicit_wins(peer: &Peer) -> Result<()> {
    let url = peer
        .fifo("q", &[("ContentBasedDeduplication", "true")])
        .await?;
    let send = || {
        peer.client
            .send_message()
            .queue_url(&url)
            .message_body("a")
            .message_group_id("g")
    };
    send().send().await?;
    send().message_deduplication_id("explicit").send().await?;
    ensure!(
        peer.receive(&url, 10).await?.len() == 2,
        "the content decided"
    );
    Ok(())
}

async fn sequence(peer: &Peer) -> Result<()> {
    let url = peer.fifo("q", &[]).await?;
    let mut last = 0_u128;
    for body in ["a", "b", "c"] {
        let send = peer
            .client
            .send_message()
            .queue_url(&url)
            .message_body(body);
        let sent = send
            .message_group_id("g")
            .message_deduplication_id(body)
            .send()
            .await?;
        let number = sent
            .sequence_number()
            .context("no sequence number")?
            .parse()?;
        ensure!(number > last, "{number} after {last}");
        last = number;
    }
    Ok(())
}

async fn expired_handle(peer: &Peer) -> Result<()> {
    let url = peer.fifo("q", &[("VisibilityTimeout", "1")]).await?;
    peer.send_to(&url, "g", "a").await?;
    let message = peer.receive_one(&url).await?;
    peer.pass(1).await;
    let handle = message.receipt_handle().unwrap_or_default();
    let deleted = peer
        .client
        .delete_message()
        .queue_url(&url)
        .receipt_handle(handle)
        .send()
        .await;
    refused(deleted, "InvalidParameterValue")?;
    peer.receive_one(&url)
        .await
        .context("deleted all the same")?;
    Ok(())
}

async fn attempt(peer: &Peer) -> Result<()> {
    let url = peer.fifo("q", &[]).await?;
    peer.send_to(&url, "g", "a").await?;
    peer.send_to(&url, "g", "b").await?;
    let receive = || {
        let receive = peer
            .client
            .receive_message()
            .queue_url(&url)
            .max_number_of_messages(10);
        receive.receive_request_attempt_id("attempt-1").send()
    };
    let handles = |messages: &[aws_sdk_sqs::types::Message]| -> Vec<_> {
        messages
            .iter()
            .map(|message| message.receipt_handle().unwrap_or_default().to_owned())
            .collect()
    };
    let (first, second) = (receive().await?, receive().await?);
    ensure!(handles(first.messages()).len() == 2, "{first:?}");
    ensure!(
        handles(first.messages()) == handles(second.messages()),
        "{first:?} {second:?}"
    );
    Ok(())
}

async fn throughput(peer: &Peer) -> Result<()> {
    let name = aws_sdk_sqs::types::QueueAttributeName::FifoThroughputLimit;
    let fifo = aws_sdk_sqs::types::QueueAttributeName::FifoQueue;
    let create = peer
        .client
        .create_queue()
        .queue_name(peer.name("q.fifo"))
        .attributes(fifo, "true");
    refused(
        create.attributes(name, "perMessageGroupId").send().await,
        "InvalidAttributeValue",
    )
}
