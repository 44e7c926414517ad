//! Batches, and what of them comes again.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nightshift_domain::{PoolId, SandboxId};
use nightshift_engine::dispatch::DispatchError;
use nightshift_store::StoreError;

use super::*;

/// Carries nothing out, but remembers what it was asked and when each began and ended.
#[derive(Debug, Default)]
struct Script {
    log: Mutex<Vec<String>>,
    active: AtomicUsize,
    most: AtomicUsize,
    fails: Vec<Step>,
    hangs: Vec<Step>,
    /// How long each step takes: the earlier in this list, the longer.
    slow: Vec<Step>,
}

impl Script {
    fn note(&self, what: &str, step: Step) {
        let name = match step {
            Step::ClaimWake { pool } => pool.to_string(),
            Step::Retire { sandbox } => sandbox.to_string(),
            Step::WriteBack { .. }
            | Step::Dispatch { .. }
            | Step::Rest { .. }
            | Step::Refill { .. }
            | Step::Provision { .. } => step.kind().to_owned(),
        };
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(format!("{what} {name}"));
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Work for Script {
    fn carry_out(&self, envelope: Envelope) -> BoxFuture<'_, Result<(), StepError>> {
        let step = envelope.step;
        async move {
            self.note("began", step);
            let active = self.active.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(active, Ordering::SeqCst);
            if let Some(place) = self.slow.iter().position(|slow| *slow == step) {
                let rest = u64::try_from(self.slow.len() - place).unwrap_or(1);
                tokio::time::sleep(Duration::from_secs(rest)).await;
            }
            if self.hangs.contains(&step) {
                std::future::pending::<()>().await;
            }
            self.active.fetch_sub(1, Ordering::SeqCst);
            if self.fails.contains(&step) {
                let error = StoreError::Stale("the world".to_owned());
                return Err(DispatchError::Store(error).into());
            }
            self.note("ended", step);
            Ok(())
        }
        .boxed()
    }
}

fn message(id: &str, step: Step) -> Message {
    Message {
        id: id.to_owned(),
        receipt: None,
        body: serde_json::to_string(&Envelope::new(step, None)).unwrap(),
        sent_at: None,
        received: Some(1),
    }
}

fn wakes(count: usize) -> (Vec<Step>, Vec<Message>) {
    let steps: Vec<Step> = (0..count)
        .map(|_| Step::ClaimWake {
            pool: PoolId::generate(),
        })
        .collect();
    let name = |(number, step): (usize, &Step)| message(&number.to_string(), *step);
    let messages = steps.iter().enumerate().map(name).collect();
    (steps, messages)
}

fn retirements(count: usize) -> (Vec<Step>, Vec<Message>) {
    let steps: Vec<Step> = (0..count)
        .map(|_| Step::Retire {
            sandbox: SandboxId::generate(),
        })
        .collect();
    let name = |(number, step): (usize, &Step)| message(&number.to_string(), *step);
    let messages = steps.iter().enumerate().map(name).collect();
    (steps, messages)
}

fn later() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

#[tokio::test(start_paused = true)]
async fn a_fifo_batch_ends_at_its_first_failure_and_everything_from_there_on_comes_again() {
    let (steps, messages) = wakes(5);
    let script = Script {
        fails: vec![steps[2]],
        ..Script::default()
    };

    let again = carry_out(Queue::Claim, Order::Strict, &messages, later(), &script).await;

    assert_eq!(again, ["2", "3", "4"]);
    let began = script
        .log()
        .iter()
        .filter(|line| line.starts_with("began"))
        .count();
    assert_eq!(began, 3, "nothing after the failure was begun");
}

/// What happens to a FIFO queue's order, by how its batch is carried out.
async fn order_of_effects(order: Order) -> (Vec<String>, Vec<String>) {
    let (steps, messages) = wakes(3);
    let script = Script {
        // The first takes longest, as a coordinator does that has much to grant.
        slow: steps.clone(),
        ..Script::default()
    };
    let again = carry_out(Queue::Claim, order, &messages, later(), &script).await;
    assert!(again.is_empty());
    let ended = |step: &Step| {
        let Step::ClaimWake { pool } = step else {
            unreachable!("only wakes were sent")
        };
        format!("ended {pool}")
    };
    let mut effects = script.log();
    effects.retain(|line| line.starts_with("ended"));
    (effects, steps.iter().map(ended).collect())
}

#[tokio::test(start_paused = true)]
async fn a_fifo_batch_takes_effect_in_order_and_would_not_if_it_ran_side_by_side() {
    let (effects, sent) = order_of_effects(Order::Strict).await;
    assert_eq!(effects, sent);

    let (effects, sent) = order_of_effects(Order::Free).await;
    assert_ne!(effects, sent, "running it concurrently breaks the order");
}

#[tokio::test(start_paused = true)]
async fn only_what_failed_of_a_standard_batch_comes_again() {
    let (steps, messages) = retirements(20);
    let script = Script {
        fails: vec![steps[3], steps[17]],
        ..Script::default()
    };

    let again = carry_out(Queue::Retire, Order::Free, &messages, later(), &script).await;

    assert_eq!(again, ["3", "17"]);
}

#[tokio::test(start_paused = true)]
async fn a_standard_batch_runs_side_by_side_but_not_all_of_it() {
    let (steps, messages) = retirements(20);
    let script = Script {
        slow: steps,
        ..Script::default()
    };

    let again = carry_out(Queue::Retire, Order::Free, &messages, later(), &script).await;

    assert!(again.is_empty());
    assert_eq!(script.most.load(Ordering::SeqCst), AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_given_back_in_time_and_what_was_done_is_not() {
    let (steps, messages) = retirements(3);
    let script = Script {
        hangs: vec![steps[1]],
        ..Script::default()
    };
    let until = Instant::now() + Duration::from_secs(5);

    let again = carry_out(Queue::Retire, Order::Free, &messages, until, &script).await;

    assert_eq!(again, ["1"]);
    assert_eq!(Instant::now(), until);
}

#[tokio::test(start_paused = true)]
async fn copies_in_a_batch_are_carried_out_once_and_share_their_fate() {
    let (steps, mut messages) = retirements(2);
    messages.push(message("copy", steps[1]));
    let script = Script {
        fails: vec![steps[1]],
        ..Script::default()
    };

    let again = carry_out(Queue::Retire, Order::Free, &messages, later(), &script).await;

    assert_eq!(again, ["1", "copy"]);
    let began = script
        .log()
        .iter()
        .filter(|line| line.starts_with("began"))
        .count();
    assert_eq!(began, 2);
}

#[tokio::test(start_paused = true)]
async fn on_fifo_only_neighbours_are_copies() {
    let (steps, _) = wakes(2);
    let messages = [
        message("a", steps[0]),
        message("b", steps[0]),
        message("c", steps[1]),
        message("d", steps[0]),
    ];
    let script = Script::default();

    let again = carry_out(Queue::Claim, Order::Strict, &messages, later(), &script).await;

    assert!(again.is_empty());
    let began = script
        .log()
        .iter()
        .filter(|line| line.starts_with("began"))
        .count();
    assert_eq!(began, 3, "b is a; d came after c and is not");
}

#[tokio::test(start_paused = true)]
async fn poison_and_strays_come_again_and_hold_a_standard_queue_up_no_longer() {
    let (_, mut messages) = retirements(2);
    let pool = PoolId::generate();
    messages.push(message("stray", Step::Refill { pool }));
    for (id, body) in [
        ("empty", ""),
        ("poison", "{\"v\":2,"),
        ("newer", r#"{"v":3,"step":{"kind":"dance"}}"#),
    ] {
        messages.push(Message {
            body: body.to_owned(),
            id: id.to_owned(),
            receipt: None,
            sent_at: None,
            received: Some(4),
        });
    }
    let script = Script::default();

    let again = carry_out(Queue::Retire, Order::Free, &messages, later(), &script).await;

    assert_eq!(again, ["stray", "empty", "poison", "newer"]);
}

#[test]
fn a_record_is_read_as_sqs_sends_it() {
    let record: SqsMessage = serde_json::from_value(serde_json::json!({
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": "text",
        "attributes": {
            "ApproximateReceiveCount": "3",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185"
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:retire",
        "awsRegion": "us-east-2"
    }))
    .unwrap();

    let message = Message::try_from(record).unwrap();

    assert_eq!(message.id, "059f36b4-87a3-44ab-83d2-661975830a7d");
    assert_eq!((message.body.as_str(), message.received), ("text", Some(3)));
    let sent = message.sent_at.map(|at| at.timestamp_millis());
    assert_eq!(sent, Some(1_545_082_649_183));
    assert_eq!(
        Message::try_from(SqsMessage::default()),
        Err(NamelessRecord)
    );
}
