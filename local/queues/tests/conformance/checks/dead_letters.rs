//! Dead-letter queues and the way back from them.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};

use crate::check::{Check, refused};
use crate::peer::{Peer, system};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        "given-up-after-max-receives",
        "a message received maxReceiveCount times goes to the dead-letter queue instead of being received again",
        |p| Box::pin(given_up(p)),
    ),
    Check::new(
        "dead-letter-keeps-identity",
        "a dead letter keeps its id, its sending time and its count, and names its source",
        |p| Box::pin(keeps_identity(p)),
    ),
    Check::new(
        "deleted-in-time-is-not-given-up",
        "a message deleted at its last receive does not become a dead letter",
        |p| Box::pin(deleted_in_time(p)),
    ),
    Check::new(
        "dead-letter-queue-of-same-type",
        "a FIFO queue's dead-letter queue is FIFO, a standard queue's is standard",
        |p| Box::pin(same_type(p)),
    ),
    Check::new(
        "missing-dead-letter-queue",
        "the dead-letter queue must exist",
        |p| Box::pin(exists(p)),
    ),
    Check::new(
        "max-receive-count-range",
        "maxReceiveCount is 1 to 1000, and required",
        |p| Box::pin(count_range(p)),
    ),
    Check::new(
        "redrive-permission",
        "a queue can refuse to be others' dead-letter queue",
        |p| Box::pin(permission(p)),
    ),
    Check::new(
        "dead-letter-sources",
        "a dead-letter queue's sources are listed",
        |p| Box::pin(sources(p)),
    ),
    Check::new(
        "move-back",
        "a move task brings dead letters back to their source, as new messages",
        |p| Box::pin(move_back(p)),
    ),
    Check::new(
        "move-elsewhere",
        "a move task takes dead letters to another queue if told to",
        |p| Box::pin(move_elsewhere(p)),
    ),
    Check::new(
        "move-from-dead-letters-only",
        "a move task's source is a dead-letter queue that exists",
        |p| Box::pin(move_from(p)),
    ),
];

/// A source whose only message was just given up to the dead-letter queue.
async fn dead_letter(peer: &Peer) -> Result<(String, String, String)> {
    let dead = peer.queue("dead", &[]).await?;
    let url = peer.redriven("q", &dead, 1).await?;
    let id = peer.send(&url, "poison").await?;
    peer.receive_one(&url).await?;
    peer.pass(1).await;
    ensure!(
        peer.receive(&url, 1).await?.is_empty(),
        "received once more"
    );
    Ok((url, dead, id))
}

async fn given_up(peer: &Peer) -> Result<()> {
    let dead = peer.queue("dead", &[]).await?;
    let url = peer.redriven("q", &dead, 2).await?;
    peer.send(&url, "poison").await?;
    for _ in 0..2 {
        peer.receive_one(&url).await.context("given up too early")?;
        peer.pass(1).await;
    }
    ensure!(
        peer.receive(&url, 1).await?.is_empty(),
        "received a third time"
    );
    peer.receive_one(&dead)
        .await
        .context("not in the dead-letter queue")?;
    Ok(())
}

async fn keeps_identity(peer: &Peer) -> Result<()> {
    let (url, dead, id) = dead_letter(peer).await?;
    let letter = peer.receive_one(&dead).await?;
    ensure!(letter.message_id() == Some(&id), "another id");
    let source = system(
        &letter,
        &MessageSystemAttributeName::DeadLetterQueueSourceArn,
    );
    ensure!(source == peer.arn(&url).await?, "its source is {source:?}");
    let count = system(
        &letter,
        &MessageSystemAttributeName::ApproximateReceiveCount,
    );
    ensure!(count == "2", "received {count} times across both queues");
    Ok(())
}

async fn deleted_in_time(peer: &Peer) -> Result<()> {
    let dead = peer.queue("dead", &[]).await?;
    let url = peer.redriven("q", &dead, 1).await?;
    peer.send(&url, "a").await?;
    let message = peer.receive_one(&url).await?;
    peer.delete(&url, &message).await?;
    peer.pass(1).await;
    ensure!(peer.receive(&url, 1).await?.is_empty(), "received again");
    ensure!(peer.receive(&dead, 1).await?.is_empty(), "given up");
    Ok(())
}

async fn refuse_policy(peer: &Peer, name: &str, policy: &str) -> Result<()> {
    let mut create = peer.client.create_queue().queue_name(peer.name(name));
    if name.ends_with(".fifo") {
        create = create.attributes(QueueAttributeName::FifoQueue, "true");
    }
    let created = create
        .attributes(QueueAttributeName::RedrivePolicy, policy)
        .send()
        .await;
    refused(created, "InvalidParameterValue").with_context(|| format!("{name} with {policy}"))
}

async fn same_type(peer: &Peer) -> Result<()> {
    let (standard, fifo) = (
        peer.queue("dead", &[]).await?,
        peer.fifo("dead", &[]).await?,
    );
    refuse_policy(peer, "q.fifo", &peer.redrive(&standard, 3).await?).await?;
    refuse_policy(peer, "q", &peer.redrive(&fifo, 3).await?).await
}

async fn exists(peer: &Peer) -> Result<()> {
    let dead = peer.queue("dead", &[]).await?;
    let policy = peer
        .redrive(&dead, 3)
        .await?
        .replace("queue-dead", "queue-nowhere");
    refuse_policy(peer, "q", &policy).await
}

async fn count_range(peer: &Peer) -> Result<()> {
    let dead = peer.queue("dead", &[]).await?;
    for count in [0, 1_001] {
        refuse_policy(peer, "q", &peer.redrive(&dead, count).await?).await?;
    }
    let arn = peer.arn(&dead).await?;
    refuse_policy(peer, "q", &format!(r#"{{"deadLetterTargetArn":"{arn}"}}"#)).await
}

async fn permission(peer: &Peer) -> Result<()> {
    let dead = peer.queue("dead", &[]).await?;
    peer.set(
        &dead,
        "RedriveAllowPolicy",
        r#"{"redrivePermission":"denyAll"}"#,
    )
    .await?;
    refuse_policy(peer, "q", &peer.redrive(&dead, 3).await?).await
}

async fn sources(peer: &Peer) -> Result<()> {
    let dead = peer.queue("dead", &[]).await?;
    let url = peer.redriven("q", &dead, 3).await?;
    let listed = peer
        .client
        .list_dead_letter_source_queues()
        .queue_url(dead)
        .send()
        .await?;
    ensure!(listed.queue_urls() == [url], "{listed:?}");
    Ok(())
}

async fn move_back(peer: &Peer) -> Result<()> {
    let (url, dead, id) = dead_letter(peer).await?;
    peer.client
        .start_message_move_task()
        .source_arn(peer.arn(&dead).await?)
        .send()
        .await?;
    peer.pass(1).await;
    let back = peer.receive_one(&url).await.context("not back")?;
    ensure!(back.message_id() != Some(&id), "it has its old id");
    let count = system(&back, &MessageSystemAttributeName::ApproximateReceiveCount);
    ensure!(count == "1", "received {count} times");
    let tasks = peer
        .client
        .list_message_move_tasks()
        .source_arn(peer.arn(&dead).await?)
        .send()
        .await?;
    let task = tasks.results().first().context("no task")?;
    ensure!(task.status() == Some("COMPLETED"), "{task:?}");
    ensure!(task.approximate_number_of_messages_moved() == 1, "{task:?}");
    Ok(())
}

async fn move_elsewhere(peer: &Peer) -> Result<()> {
    let (_, dead, _) = dead_letter(peer).await?;
    let elsewhere = peer.queue("elsewhere", &[]).await?;
    let start = peer
        .client
        .start_message_move_task()
        .source_arn(peer.arn(&dead).await?);
    start
        .destination_arn(peer.arn(&elsewhere).await?)
        .send()
        .await?;
    peer.pass(1).await;
    peer.receive_one(&elsewhere).await?;
    Ok(())
}

async fn move_from(peer: &Peer) -> Result<()> {
    let plain = peer.queue("plain", &[]).await?;
    let arn = peer.arn(&plain).await?;
    let start = |arn: String| peer.client.start_message_move_task().source_arn(arn).send();
    refused(start(arn.clone()).await, "InvalidParameterValue")
        .context("no queue's dead-letter queue")?;
    refused(
        start(arn.replace("-plain", "-nowhere")).await,
        "ResourceNotFoundException",
    )
    .context("no queue at all")
}
