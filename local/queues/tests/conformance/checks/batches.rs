//! Batches: what is refused as a whole, and what fails alone.

use anyhow::{Result, ensure};
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry};

use crate::check::{Check, refused};
use crate::peer::Peer;

pub(crate) const CHECKS: &[Check] = &[
    Check::new("empty-batch", "a batch has at least one entry", |p| {
        Box::pin(empty(p))
    }),
    Check::new("too-many-entries", "a batch has at most ten entries", |p| {
        Box::pin(too_many(p))
    }),
    Check::new(
        "entry-ids-differ",
        "the ids of a batch's entries differ",
        |p| Box::pin(ids_differ(p)),
    ),
    Check::new(
        "entry-id-form",
        "an entry's id has 1 to 80 letters, digits, hyphens and underscores",
        |p| Box::pin(id_form(p)),
    ),
    Check::new(
        "batch-size",
        "all messages of a batch together are at most 1 MiB",
        |p| Box::pin(size(p)),
    ),
    Check::new(
        "bad-entry-fails-alone",
        "one bad entry fails, the others are sent",
        |p| Box::pin(fails_alone(p)),
    ),
    Check::new(
        "delete-batch",
        "a batch of deletions says what became of each",
        |p| Box::pin(delete_batch(p)),
    ),
];

/// Sends messages of these ids and sizes; how many were taken.
async fn send(
    peer: &Peer,
    entries: &[(&str, usize)],
) -> Result<Result<usize, SdkError<SendMessageBatchError>>> {
    let url = peer.queue("q", &[]).await?;
    let entries = entries
        .iter()
        .map(|(id, bytes)| entry(id, &"x".repeat(*bytes)))
        .collect::<Result<Vec<_>>>()?;
    // Set, not added, so that an empty list is sent as one.
    let sent = peer
        .client
        .send_message_batch()
        .queue_url(url)
        .set_entries(Some(entries))
        .send()
        .await;
    Ok(sent.map(|sent| sent.successful.len()))
}

fn entry(id: &str, body: &str) -> Result<SendMessageBatchRequestEntry> {
    Ok(SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(body)
        .build()?)
}

async fn empty(peer: &Peer) -> Result<()> {
    refused(
        send(peer, &[]).await?,
        "AWS.SimpleQueueService.EmptyBatchRequest",
    )
}

async fn too_many(peer: &Peer) -> Result<()> {
    let ids: Vec<_> = (0..11).map(|index| format!("e{index}")).collect();
    let entries: Vec<_> = ids.iter().map(|id| (id.as_str(), 1)).collect();
    ensure!(
        send(peer, &entries[..10]).await?? == 10,
        "ten were not sent"
    );
    refused(
        send(peer, &entries).await?,
        "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    )
}

async fn ids_differ(peer: &Peer) -> Result<()> {
    refused(
        send(peer, &[("a", 1), ("a", 1)]).await?,
        "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    )
}

async fn id_form(peer: &Peer) -> Result<()> {
    let long = "i".repeat(81);
    for id in ["with space", "dot.ted", &long] {
        refused(
            send(peer, &[(id, 1)]).await?,
            "AWS.SimpleQueueService.InvalidBatchEntryId",
        )?;
    }
    Ok(())
}

async fn size(peer: &Peer) -> Result<()> {
    ensure!(
        send(peer, &[("a", 524_288), ("b", 524_288)]).await?? == 2,
        "1 MiB was not sent"
    );
    refused(
        send(peer, &[("a", 524_288), ("b", 524_289)]).await?,
        "AWS.SimpleQueueService.BatchRequestTooLong",
    )
}

async fn fails_alone(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    let batch = peer.client.send_message_batch().queue_url(&url);
    let batch = batch
        .entries(entry("good", "a")?)
        .entries(entry("bad", "\u{0}")?)
        .entries(entry("also-good", "b")?);
    let answer = batch.send().await?;
    let failed: Vec<_> = answer
        .failed()
        .iter()
        .map(|failed| (failed.id(), failed.code(), failed.sender_fault()))
        .collect();
    ensure!(
        failed == [("bad", "InvalidMessageContents", true)],
        "{failed:?}"
    );
    let sent: Vec<_> = answer
        .successful()
        .iter()
        .map(aws_sdk_sqs::types::SendMessageBatchResultEntry::id)
        .collect();
    ensure!(sent == ["good", "also-good"], "{sent:?}");
    let there = peer.attribute(&url, "ApproximateNumberOfMessages").await?;
    ensure!(there == "2", "{there} messages");
    Ok(())
}

async fn delete_batch(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.send(&url, "a").await?;
    let message = peer.receive_one(&url).await?;
    let entry = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder()
            .id(id)
            .receipt_handle(handle)
            .build()
    };
    let batch = peer.client.delete_message_batch().queue_url(&url);
    let batch = batch.entries(entry("good", message.receipt_handle().unwrap_or_default())?);
    let answer = batch.entries(entry("bad", "not a handle")?).send().await?;
    ensure!(
        answer.successful().len() == 1 && answer.successful()[0].id() == "good",
        "{answer:?}"
    );
    ensure!(
        answer.failed().len() == 1 && answer.failed()[0].code() == "ReceiptHandleIsInvalid",
        "{answer:?}"
    );
    Ok(())
}
