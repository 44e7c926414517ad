//! Making, finding and removing queues.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::types::QueueAttributeName;

use crate::check::{Check, refused};
use crate::peer::Peer;

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        "same-queue-again",
        "creating a queue again with the same attributes returns its URL",
        |p| Box::pin(same_again(p)),
    ),
    Check::new(
        "other-queue-again",
        "creating it again with another value of an attribute is refused",
        |p| Box::pin(other_again(p)),
    ),
    Check::new(
        "queue-names",
        "a name has 1 to 80 letters, digits, hyphens and underscores",
        |p| Box::pin(names(p)),
    ),
    Check::new(
        "fifo-names",
        "a FIFO queue's name ends with .fifo, and no other queue's does",
        |p| Box::pin(fifo_names(p)),
    ),
    Check::new(
        "name-rests-after-deletion",
        "a name cannot be used again for 60 seconds after its queue was deleted",
        |p| Box::pin(name_rests(p)),
    ),
    Check::slow(
        "name-is-free-after-a-minute",
        "after those 60 seconds it can",
        |p| Box::pin(name_is_free(p)),
    ),
    Check::new(
        "no-such-queue",
        "every action on a queue that does not exist is refused",
        |p| Box::pin(no_such_queue(p)),
    ),
    Check::new(
        "defaults",
        "visibility 30 s, retention 4 days, 1 MiB, no delay, no wait, encrypted",
        |p| Box::pin(defaults(p)),
    ),
    Check::new(
        "listing",
        "queues are listed by prefix, a page at a time",
        |p| Box::pin(listing(p)),
    ),
    Check::new(
        "purge",
        "a purge deletes all messages, in flight or not",
        |p| Box::pin(purge(p)),
    ),
    Check::new(
        "one-purge-a-minute",
        "a queue is purged at most once in 60 seconds",
        |p| Box::pin(one_purge(p)),
    ),
    Check::new("tags", "tags are added, replaced and removed by key", |p| {
        Box::pin(tags(p))
    }),
];

async fn same_again(peer: &Peer) -> Result<()> {
    let first = peer.queue("q", &[("DelaySeconds", "5")]).await?;
    let second = peer.queue("q", &[("DelaySeconds", "5")]).await?;
    ensure!(first == second, "{first} and {second}");
    Ok(())
}

async fn other_again(peer: &Peer) -> Result<()> {
    peer.queue("q", &[("DelaySeconds", "5")]).await?;
    let again = peer.client.create_queue().queue_name(peer.name("q"));
    let again = again
        .attributes(QueueAttributeName::DelaySeconds, "6")
        .send()
        .await;
    refused(again, "QueueAlreadyExists")
}

async fn names(peer: &Peer) -> Result<()> {
    for name in [
        "with space".to_owned(),
        "dot.ted".to_owned(),
        "n".repeat(81),
    ] {
        let made = peer.client.create_queue().queue_name(&name).send().await;
        refused(made, "InvalidParameterValue").with_context(|| format!("{name:?}"))?;
    }
    let longest = format!("{:x<80}", peer.name("q"));
    peer.client
        .create_queue()
        .queue_name(longest)
        .send()
        .await?;
    Ok(())
}

async fn fifo_names(peer: &Peer) -> Result<()> {
    let plain = peer
        .client
        .create_queue()
        .queue_name(peer.name("plain.fifo"))
        .send()
        .await;
    refused(plain, "InvalidParameterValue").context("a .fifo name without the attribute")?;
    let create = peer.client.create_queue().queue_name(peer.name("fifo"));
    let fifo = create
        .attributes(QueueAttributeName::FifoQueue, "true")
        .send()
        .await;
    refused(fifo, "InvalidParameterValue").context("the attribute without a .fifo name")
}

async fn name_rests(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.client.delete_queue().queue_url(url).send().await?;
    let again = peer
        .client
        .create_queue()
        .queue_name(peer.name("q"))
        .send()
        .await;
    refused(again, "AWS.SimpleQueueService.QueueDeletedRecently")
}

async fn name_is_free(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.client.delete_queue().queue_url(url).send().await?;
    peer.pass(61).await;
    peer.queue("q", &[]).await?;
    Ok(())
}

async fn no_such_queue(peer: &Peer) -> Result<()> {
    let there = peer.queue("q", &[]).await?;
    let gone = there.replace("-q", "-other");
    let missing = "AWS.SimpleQueueService.NonExistentQueue";
    refused(
        peer.client
            .send_message()
            .queue_url(&gone)
            .message_body("a")
            .send()
            .await,
        missing,
    )?;
    refused(
        peer.client.receive_message().queue_url(&gone).send().await,
        missing,
    )?;
    refused(
        peer.client.purge_queue().queue_url(&gone).send().await,
        missing,
    )?;
    refused(
        peer.client
            .get_queue_url()
            .queue_name(peer.name("other"))
            .send()
            .await,
        missing,
    )
}

async fn defaults(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    for (name, value) in [
        ("VisibilityTimeout", "30"),
        ("MessageRetentionPeriod", "345600"),
        ("MaximumMessageSize", "1048576"),
        ("DelaySeconds", "0"),
        ("ReceiveMessageWaitTimeSeconds", "0"),
        ("SqsManagedSseEnabled", "true"),
    ] {
        let found = peer.attribute(&url, name).await?;
        ensure!(found == value, "{name} is {found}, not {value}");
    }
    Ok(())
}

async fn listing(peer: &Peer) -> Result<()> {
    for name in ["list-a", "list-b", "list-c", "other"] {
        peer.queue(name, &[]).await?;
    }
    let list = || {
        peer.client
            .list_queues()
            .queue_name_prefix(peer.name("list-"))
            .max_results(2)
    };
    let first = list().send().await?;
    ensure!(first.queue_urls().len() == 2, "{:?}", first.queue_urls());
    let second = list()
        .next_token(first.next_token().context("no next page")?)
        .send()
        .await?;
    ensure!(second.queue_urls().len() == 1, "{:?}", second.queue_urls());
    ensure!(second.next_token().is_none(), "a third page");
    Ok(())
}

async fn purge(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.send(&url, "in flight").await?;
    peer.receive_one(&url).await?;
    peer.send(&url, "visible").await?;
    peer.client.purge_queue().queue_url(&url).send().await?;
    for name in [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
    ] {
        let left = peer.attribute(&url, name).await?;
        ensure!(left == "0", "{name} is {left}");
    }
    Ok(())
}

async fn one_purge(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.client.purge_queue().queue_url(&url).send().await?;
    let again = peer.client.purge_queue().queue_url(&url).send().await;
    refused(again, "AWS.SimpleQueueService.PurgeQueueInProgress")
}

async fn tags(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    let tag = |key: &str, value: &str| peer.client.tag_queue().queue_url(&url).tags(key, value);
    tag("owner", "a").tags("stage", "test").send().await?;
    tag("owner", "b").send().await?;
    peer.client
        .untag_queue()
        .queue_url(&url)
        .tag_keys("stage")
        .send()
        .await?;
    let tags = peer
        .client
        .list_queue_tags()
        .queue_url(&url)
        .send()
        .await?
        .tags
        .unwrap_or_default();
    ensure!(
        tags.len() == 1 && tags.get("owner").is_some_and(|owner| owner == "b"),
        "{tags:?}"
    );
    Ok(())
}
