//! Receiving and deleting.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::types::MessageSystemAttributeName;

use crate::check::{Check, refused};
use crate::peer::{Peer, bodies, system};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        "hidden-while-in-flight",
        "a received message is hidden, and comes again after the visibility timeout",
        |p| Box::pin(hidden(p)),
    ),
    Check::new(
        "receives-are-counted",
        "each receive counts, and has a receipt handle of its own",
        |p| Box::pin(counted(p)),
    ),
    Check::new(
        "at-most-ten",
        "a receive returns at most as many messages as asked for",
        |p| Box::pin(at_most(p)),
    ),
    Check::new(
        "stale-handle-deletes-nothing",
        "only the newest receipt handle deletes a message",
        |p| Box::pin(stale_handle(p)),
    ),
    Check::new(
        "late-delete",
        "a message whose visibility ended can still be deleted until it is received again",
        |p| Box::pin(late_delete(p)),
    ),
    Check::new("delete-twice", "deleting a deleted message succeeds", |p| {
        Box::pin(delete_twice(p))
    }),
    Check::new(
        "garbage-handle",
        "what is no receipt handle is refused",
        |p| Box::pin(garbage_handle(p)),
    ),
    Check::new(
        "handle-of-another-queue",
        "a receipt handle is good for its queue only",
        |p| Box::pin(other_queue(p)),
    ),
    Check::new(
        "counts",
        "a queue tells what is visible and what is in flight",
        |p| Box::pin(counts(p)),
    ),
    Check::new(
        "wait-ends-with-a-message",
        "a waiting receive returns as soon as there is a message",
        |p| Box::pin(wait_ends(p)),
    ),
    Check::new(
        "wait-ends-empty",
        "a waiting receive without a message returns nothing, and no error",
        |p| Box::pin(wait_empty(p)),
    ),
    Check::new(
        "wait-notices-the-end-of-a-delay",
        "a waiting receive returns a message as soon as its delay is over",
        |p| Box::pin(wait_notices(p)),
    ),
    Check::slow(
        "retention",
        "a message is gone after the retention period, counted from its sending",
        |p| Box::pin(retention(p)),
    ),
    Check::new(
        "system-attributes-on-demand",
        "system attributes are returned if asked for only",
        |p| Box::pin(on_demand(p)),
    ),
];

async fn hidden(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("VisibilityTimeout", "2")]).await?;
    let id = peer.send(&url, "a").await?;
    peer.receive_one(&url).await?;
    ensure!(peer.receive(&url, 1).await?.is_empty(), "received twice");
    peer.pass(2).await;
    let again = peer.receive_one(&url).await?;
    ensure!(again.message_id() == Some(&id), "another message");
    Ok(())
}

async fn counted(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("VisibilityTimeout", "0")]).await?;
    peer.send(&url, "a").await?;
    let (first, second) = (peer.receive_one(&url).await?, peer.receive_one(&url).await?);
    let count = |message| {
        system(
            message,
            &MessageSystemAttributeName::ApproximateReceiveCount,
        )
    };
    ensure!(
        (count(&first), count(&second)) == ("1".to_owned(), "2".to_owned()),
        "{first:?} {second:?}"
    );
    ensure!(
        first.receipt_handle() != second.receipt_handle(),
        "the same handle"
    );
    Ok(())
}

async fn at_most(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    for index in 0..4 {
        peer.send(&url, &index.to_string()).await?;
    }
    ensure!(peer.receive(&url, 3).await?.len() == 3, "not three");
    ensure!(peer.receive(&url, 10).await?.len() == 1, "not the last one");
    Ok(())
}

async fn stale_handle(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("VisibilityTimeout", "1")]).await?;
    peer.send(&url, "a").await?;
    let first = peer.receive_one(&url).await?;
    peer.pass(1).await;
    let second = peer.receive_one(&url).await?;
    peer.delete(&url, &first)
        .await
        .context("a stale handle is no error on a standard queue")?;
    peer.hide(&url, &second, 0)
        .await
        .context("the message should still be there")?;
    let third = peer.receive_one(&url).await?;
    peer.delete(&url, &third).await?;
    peer.pass(1).await;
    ensure!(
        peer.receive(&url, 1).await?.is_empty(),
        "the newest handle did not delete it"
    );
    Ok(())
}

async fn late_delete(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("VisibilityTimeout", "1")]).await?;
    peer.send(&url, "a").await?;
    let message = peer.receive_one(&url).await?;
    peer.pass(1).await;
    peer.delete(&url, &message).await?;
    ensure!(peer.receive(&url, 1).await?.is_empty(), "it came again");
    Ok(())
}

async fn delete_twice(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.send(&url, "a").await?;
    let message = peer.receive_one(&url).await?;
    peer.delete(&url, &message).await?;
    peer.delete(&url, &message).await
}

async fn garbage_handle(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    let deleted = peer
        .client
        .delete_message()
        .queue_url(url)
        .receipt_handle("garbage")
        .send()
        .await;
    refused(deleted, "ReceiptHandleIsInvalid")
}

async fn other_queue(peer: &Peer) -> Result<()> {
    let (url, other) = (peer.queue("q", &[]).await?, peer.queue("other", &[]).await?);
    peer.send(&url, "a").await?;
    let message = peer.receive_one(&url).await?;
    let handle = message.receipt_handle().unwrap_or_default();
    let deleted = peer
        .client
        .delete_message()
        .queue_url(other)
        .receipt_handle(handle)
        .send()
        .await;
    refused(deleted, "ReceiptHandleIsInvalid")
}

async fn counts(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    for index in 0..3 {
        peer.send(&url, &index.to_string()).await?;
    }
    peer.receive_one(&url).await?;
    let visible = peer.attribute(&url, "ApproximateNumberOfMessages").await?;
    let in_flight = peer
        .attribute(&url, "ApproximateNumberOfMessagesNotVisible")
        .await?;
    ensure!(
        (visible.as_str(), in_flight.as_str()) == ("2", "1"),
        "{visible} visible, {in_flight} in flight"
    );
    Ok(())
}

async fn wait_ends(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    let start = Instant::now();
    let waiting = peer
        .client
        .receive_message()
        .queue_url(&url)
        .wait_time_seconds(20)
        .send();
    let sending = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        peer.send(&url, "a").await
    };
    let (received, sent) = tokio::join!(waiting, sending);
    sent?;
    ensure!(
        bodies(received?.messages()) == ["a"],
        "nothing was received"
    );
    ensure!(
        start.elapsed() < Duration::from_secs(15),
        "it waited to the end"
    );
    Ok(())
}

async fn wait_notices(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("DelaySeconds", "1")]).await?;
    peer.send(&url, "a").await?;
    let start = Instant::now();
    let received = peer
        .client
        .receive_message()
        .queue_url(&url)
        .wait_time_seconds(20)
        .send()
        .await?;
    ensure!(bodies(received.messages()) == ["a"], "nothing was received");
    ensure!(
        start.elapsed() < Duration::from_secs(15),
        "it waited to the end"
    );
    Ok(())
}

async fn wait_empty(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    let start = Instant::now();
    let received = peer
        .client
        .receive_message()
        .queue_url(&url)
        .wait_time_seconds(1)
        .send()
        .await?;
    ensure!(received.messages().is_empty(), "{received:?}");
    ensure!(
        start.elapsed() >= Duration::from_millis(900),
        "it did not wait"
    );
    Ok(())
}

async fn retention(peer: &Peer) -> Result<()> {
    let url = peer
        .queue(
            "q",
            &[("MessageRetentionPeriod", "60"), ("VisibilityTimeout", "0")],
        )
        .await?;
    peer.send(&url, "a").await?;
    peer.pass(58).await;
    peer.receive_one(&url).await.context("gone too early")?;
    peer.pass(3).await;
    ensure!(
        peer.receive(&url, 1).await?.is_empty(),
        "a receive prolonged its life"
    );
    Ok(())
}

async fn on_demand(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("VisibilityTimeout", "0")]).await?;
    peer.send(&url, "a").await?;
    let receive = || peer.client.receive_message().queue_url(&url);
    let none = receive().send().await?;
    let attributes = none
        .messages()
        .first()
        .and_then(|message| message.attributes.clone());
    ensure!(attributes.unwrap_or_default().is_empty(), "{none:?}");
    let one = receive()
        .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
        .send()
        .await?;
    let attributes = one
        .messages()
        .first()
        .and_then(|message| message.attributes.clone())
        .unwrap_or_default();
    ensure!(attributes.len() == 1, "{one:?}");
    Ok(())
}
