//! When a message that was given back comes again.
//!
//! Left alone it stays hidden for six times the function's timeout, which is right for a function that was
//! killed: it may still be at work. One that answered is not, and most of what fails works a moment later.

use std::time::Duration;

use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry;
use futures_util::future::join_all;
use nightshift_engine::causes;
use tokio::time::timeout;

use super::Message;
use crate::{Queue, Sqs};

/// Messages in one request, at most (SQS's own limit).
const MOST_ENTRIES: usize = 10;
/// The pause after a message's first failure, at most, in seconds.
const FIRST_S: u64 = 2;
/// By how much each further failure makes it longer.
const GROWTH: u64 = 6;
/// The longest pause, in seconds. A message that fails each time is then given up after three to six and a half minutes.
const LONGEST_S: u64 = 300;
/// The longest pause of a FIFO queue, whose group waits for it.
const LONGEST_FIFO_S: u64 = 60;
/// How long SQS may take to be told; who is not told waits longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lets those of `messages` that are given back come again after a pause that grows with each failure.
pub async fn bring_back(sqs: &Sqs, queue: Queue, messages: &[Message], again: &[String]) {
    let failed: Vec<&Message> = messages
        .iter()
        .filter(|message| again.contains(&message.id))
        .collect();
    // On a FIFO queue one pause for all of them, or the later ones would hold their group without need.
    let first = failed.iter().map(|message| message.received).max();
    let shared = first.map(|received| pause_s(queue, received.unwrap_or(1), rand::random()));
    let told = failed.chunks(MOST_ENTRIES).map(|failed| {
        let entries = failed.iter().enumerate().filter_map(|(number, message)| {
            let alone = || pause_s(queue, message.received.unwrap_or(1), rand::random());
            let pause = shared.filter(|_| queue.is_fifo()).unwrap_or_else(alone);
            entry(number, message, pause)
        });
        tell(sqs, queue, entries.collect())
    });
    join_all(told).await;
}

/// Between half of the pause and all of it, so that what failed together does not come together. None after the last
/// failure: a queue gives a message up only where it would hand it out once more, and people wait to hear of it.
fn pause_s(queue: Queue, received: u32, roll: u64) -> u64 {
    if received >= Queue::MAX_RECEIVES {
        return 0;
    }
    let longest = if queue.is_fifo() {
        LONGEST_FIFO_S
    } else {
        LONGEST_S
    };
    let grown = GROWTH.saturating_pow(received.saturating_sub(1));
    let whole = FIRST_S.saturating_mul(grown).min(longest);
    whole - roll % (whole / 2 + 1)
}

fn entry(
    number: usize,
    message: &Message,
    pause_s: u64,
) -> Option<ChangeMessageVisibilityBatchRequestEntry> {
    ChangeMessageVisibilityBatchRequestEntry::builder()
        .id(number.to_string())
        .receipt_handle(message.receipt.as_deref()?)
        .visibility_timeout(i32::try_from(pause_s).ok()?)
        .build()
        .ok()
}

async fn tell(sqs: &Sqs, queue: Queue, entries: Vec<ChangeMessageVisibilityBatchRequestEntry>) {
    if entries.is_empty() {
        return;
    }
    let asked = sqs
        .client()
        .change_message_visibility_batch()
        .queue_url(sqs.queues().url(queue))
        .set_entries(Some(entries))
        .send();
    match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) if answer.failed().is_empty() => {}
        Ok(Ok(answer)) => {
            let failed = answer.failed().len();
            tracing::warn!(%queue, failed, "Messages that failed come again later than they could");
        }
        Ok(Err(error)) => {
            let error = causes(&error);
            tracing::warn!(%queue, error, "Messages that failed come again later than they could");
        }
        Err(_) => {
            tracing::warn!(%queue, "SQS was too slow to be told when to bring messages again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_grows_with_each_failure_up_to_the_longest_and_the_last_is_followed_by_none() {
        let pauses = |queue: Queue, roll: u64| -> Vec<u64> {
            (1..=6)
                .map(|received| pause_s(queue, received, roll))
                .collect()
        };
        assert_eq!(pauses(Queue::Retire, 0), [2, 12, 72, 300, 0, 0]);
        assert_eq!(pauses(Queue::Claim, 0), [2, 12, 60, 60, 0, 0]);
        for roll in 0..1_000 {
            let wholes = [2, 12, 72, 300];
            for (pause, whole) in pauses(Queue::Retire, roll).into_iter().zip(wholes) {
                assert!(pause * 2 >= whole && pause <= whole, "{pause} of {whole}");
            }
        }
        assert_eq!(pause_s(Queue::Retire, 0, 0), 2);
    }
}
