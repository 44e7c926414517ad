//! FIFO queues: the order within a group, and who waits for whom.

use anyhow::{Context as _, Result, ensure};

use crate::check::Check;
use crate::peer::{Peer, bodies};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        "group-in-order",
        "the messages of a group are received in the order they were sent",
        |p| Box::pin(in_order(p)),
    ),
    Check::new(
        "one-receive-fills-with-the-group",
        "a receive returns as many messages of the same group as it can, in order",
        |p| Box::pin(fills(p)),
    ),
    Check::new(
        "group-waits-for-its-message-in-flight",
        "while a message of a group is in flight no other of the group is received",
        |p| Box::pin(waits(p)),
    ),
    Check::new(
        "other-groups-do-not-wait",
        "messages of other groups are received meanwhile",
        |p| Box::pin(others(p)),
    ),
    Check::new(
        "order-after-visibility-ended",
        "a message that was not deleted comes again before those after it",
        |p| Box::pin(after_visibility(p)),
    ),
    Check::new(
        "order-after-giving-back",
        "so does one that was given back",
        |p| Box::pin(after_giving_back(p)),
    ),
    Check::new(
        "group-waits-for-the-rest-of-a-batch",
        "a group waits until every message of the batch is deleted or visible",
        |p| Box::pin(rest_of_batch(p)),
    ),
    Check::new(
        "dead-letter-frees-its-group",
        "a group goes on when its first message was given up",
        |p| Box::pin(dead_letter_frees(p)),
    ),
    Check::new(
        "fifo-queue-delay-keeps-order",
        "a delayed FIFO queue delivers late and in order",
        |p| Box::pin(delay_keeps_order(p)),
    ),
];

async fn with(peer: &Peer, attributes: &[(&str, &str)], sent: &[(&str, &str)]) -> Result<String> {
    let url = peer.fifo("q", attributes).await?;
    for (group, body) in sent {
        peer.send_to(&url, group, body).await?;
    }
    Ok(url)
}

async fn in_order(peer: &Peer) -> Result<()> {
    let url = with(peer, &[], &[("g", "1"), ("g", "2"), ("g", "3")]).await?;
    for expected in ["1", "2", "3"] {
        let message = peer.receive_one(&url).await?;
        ensure!(message.body() == Some(expected), "{message:?}");
        peer.delete(&url, &message).await?;
    }
    Ok(())
}

async fn fills(peer: &Peer) -> Result<()> {
    let url = with(
        peer,
        &[],
        &[("g", "1"), ("h", "a"), ("g", "2"), ("h", "b"), ("g", "3")],
    )
    .await?;
    let received = peer.receive(&url, 3).await?;
    ensure!(
        bodies(&received) == ["1", "2", "3"],
        "{:?}",
        bodies(&received)
    );
    Ok(())
}

async fn waits(peer: &Peer) -> Result<()> {
    let url = with(peer, &[], &[("g", "1"), ("g", "2")]).await?;
    let first = peer.receive_one(&url).await?;
    ensure!(
        peer.receive(&url, 10).await?.is_empty(),
        "the second was received while the first was in flight"
    );
    peer.delete(&url, &first).await?;
    ensure!(
        peer.receive_one(&url).await?.body() == Some("2"),
        "not the second"
    );
    Ok(())
}

async fn others(peer: &Peer) -> Result<()> {
    let url = with(peer, &[], &[("g", "1"), ("g", "2"), ("h", "a")]).await?;
    ensure!(
        peer.receive_one(&url).await?.body() == Some("1"),
        "not the first"
    );
    let received = peer.receive(&url, 10).await?;
    ensure!(bodies(&received) == ["a"], "{:?}", bodies(&received));
    Ok(())
}

async fn after_visibility(peer: &Peer) -> Result<()> {
    let url = with(
        peer,
        &[("VisibilityTimeout", "1")],
        &[("g", "1"), ("g", "2"), ("g", "3")],
    )
    .await?;
    peer.receive(&url, 2).await?;
    peer.pass(1).await;
    let received = peer.receive(&url, 10).await?;
    ensure!(
        bodies(&received) == ["1", "2", "3"],
        "{:?}",
        bodies(&received)
    );
    Ok(())
}

async fn after_giving_back(peer: &Peer) -> Result<()> {
    let url = with(peer, &[], &[("g", "1"), ("g", "2")]).await?;
    let first = peer.receive_one(&url).await?;
    peer.hide(&url, &first, 0).await?;
    let received = peer.receive(&url, 10).await?;
    ensure!(bodies(&received) == ["1", "2"], "{:?}", bodies(&received));
    Ok(())
}

async fn rest_of_batch(peer: &Peer) -> Result<()> {
    let url = with(peer, &[], &[("g", "1"), ("g", "2"), ("g", "3")]).await?;
    let batch = peer.receive(&url, 2).await?;
    ensure!(bodies(&batch) == ["1", "2"], "{:?}", bodies(&batch));
    peer.delete(&url, &batch[0]).await?;
    ensure!(
        peer.receive(&url, 10).await?.is_empty(),
        "the third came before the second was done"
    );
    peer.hide(&url, &batch[1], 0).await?;
    let received = peer.receive(&url, 10).await?;
    ensure!(bodies(&received) == ["2", "3"], "{:?}", bodies(&received));
    Ok(())
}

async fn dead_letter_frees(peer: &Peer) -> Result<()> {
    let dead = peer.fifo("dead", &[]).await?;
    let url = peer.redriven("q.fifo", &dead, 1).await?;
    for body in ["poison", "good"] {
        peer.send_to(&url, "g", body).await?;
    }
    ensure!(
        peer.receive_one(&url).await?.body() == Some("poison"),
        "not the first"
    );
    peer.pass(1).await;
    let received = peer.receive(&url, 10).await?;
    ensure!(bodies(&received) == ["good"], "{:?}", bodies(&received));
    let letter = peer
        .receive_one(&dead)
        .await
        .context("not in the dead-letter queue")?;
    ensure!(letter.body() == Some("poison"), "{letter:?}");
    Ok(())
}

async fn delay_keeps_order(peer: &Peer) -> Result<()> {
    let url = with(peer, &[("DelaySeconds", "2")], &[("g", "1"), ("g", "2")]).await?;
    ensure!(
        peer.receive(&url, 10).await?.is_empty(),
        "received during the delay"
    );
    peer.pass(2).await;
    let received = peer.receive(&url, 10).await?;
    ensure!(bodies(&received) == ["1", "2"], "{:?}", bodies(&received));
    Ok(())
}
