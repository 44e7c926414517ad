//! Changing how long a message stays hidden.

use anyhow::{Result, ensure};

use crate::check::{Check, refused};
use crate::peer::Peer;

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        "give-back",
        "a visibility of 0 gives the message back at once",
        |p| Box::pin(give_back(p)),
    ),
    Check::new(
        "hide-for-longer",
        "a changed visibility counts from the change",
        |p| Box::pin(longer(p)),
    ),
    Check::new(
        "twelve-hours-in-all",
        "a message is hidden for at most 12 h from its receive, however often that is extended",
        |p| Box::pin(twelve_hours(p)),
    ),
    Check::new(
        "not-in-flight",
        "only the visibility of a message in flight can be changed",
        |p| Box::pin(not_in_flight(p)),
    ),
    Check::new(
        "deleted-message",
        "the visibility of a deleted message cannot be changed",
        |p| Box::pin(deleted(p)),
    ),
    Check::new(
        "receive-with-own-visibility",
        "a receive's own visibility timeout replaces the queue's",
        |p| Box::pin(own_visibility(p)),
    ),
];

async fn give_back(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.send(&url, "a").await?;
    let message = peer.receive_one(&url).await?;
    peer.hide(&url, &message, 0).await?;
    peer.receive_one(&url).await?;
    Ok(())
}

async fn longer(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("VisibilityTimeout", "2")]).await?;
    peer.send(&url, "a").await?;
    let message = peer.receive_one(&url).await?;
    peer.pass(1).await;
    peer.hide(&url, &message, 4).await?;
    peer.pass(2).await;
    ensure!(
        peer.receive(&url, 1).await?.is_empty(),
        "it showed after the old timeout"
    );
    peer.pass(2).await;
    peer.receive_one(&url).await?;
    Ok(())
}

async fn twelve_hours(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.send(&url, "a").await?;
    let message = peer.receive_one(&url).await?;
    peer.pass(2).await;
    let handle = message.receipt_handle().unwrap_or_default();
    let change = || {
        peer.client
            .change_message_visibility()
            .queue_url(&url)
            .receipt_handle(handle)
    };
    refused(
        change().visibility_timeout(43_200).send().await,
        "InvalidParameterValue",
    )?;
    change().visibility_timeout(43_190).send().await?;
    Ok(())
}

async fn not_in_flight(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("VisibilityTimeout", "1")]).await?;
    peer.send(&url, "a").await?;
    let message = peer.receive_one(&url).await?;
    peer.pass(1).await;
    let change = peer
        .client
        .change_message_visibility()
        .queue_url(url)
        .visibility_timeout(5);
    let changed = change
        .receipt_handle(message.receipt_handle().unwrap_or_default())
        .send()
        .await;
    refused(changed, "AWS.SimpleQueueService.MessageNotInflight")
}

async fn deleted(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.send(&url, "a").await?;
    let message = peer.receive_one(&url).await?;
    peer.delete(&url, &message).await?;
    let change = peer
        .client
        .change_message_visibility()
        .queue_url(url)
        .visibility_timeout(5);
    let changed = change
        .receipt_handle(message.receipt_handle().unwrap_or_default())
        .send()
        .await;
    refused(changed, "InvalidParameterValue")
}

async fn own_visibility(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("VisibilityTimeout", "600")]).await?;
    peer.send(&url, "a").await?;
    peer.client
        .receive_message()
        .queue_url(&url)
        .visibility_timeout(1)
        .send()
        .await?;
    peer.pass(1).await;
    peer.receive_one(&url).await?;
    Ok(())
}
