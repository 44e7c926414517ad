//! The rules of the event source mapping, over the real queues and a function that does as it is told.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod world;

use std::time::Duration;

use chrono::TimeDelta;
use nightshift_queues::{mapping::Settings, runtime::InvokeError};
use serde_json::{Value, json};

use crate::world::{World, all_failed, failed, ids, ok};

#[tokio::test]
async fn what_the_function_is_done_with_is_deleted() {
    let world = World::standard(30);
    world.send(&["a", "b", "c"]);
    let mut function = world.map(world.settings());

    let mut seen = Vec::new();
    while seen.len() < 3 {
        let call = function.called().await;
        seen.extend(call.bodies());
        call.answer(&ok());
    }
    seen.sort();
    assert_eq!(seen, ["a", "b", "c"]);
    world.becomes_empty().await;
    function.is_left_alone(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn the_event_is_as_lambda_documents_it() {
    let world = World::fifo(30);
    world.send_in("pool-1", &["a"]);
    let mut function = world.map(world.settings());

    let call = function.called().await;
    let record = &call.event["Records"][0];
    assert_eq!(record["body"], "a");
    assert_eq!(record["eventSource"], "aws:sqs");
    assert_eq!(record["eventSourceARN"], world.arn());
    assert_eq!(record["awsRegion"], "eu-west-1");
    assert_eq!(record["md5OfBody"], "0cc175b9c0f1b6a831c399e269772661");
    assert_eq!(record["attributes"]["MessageGroupId"], "pool-1");
    assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");
    for name in [
        "SentTimestamp",
        "ApproximateFirstReceiveTimestamp",
        "SenderId",
        "SequenceNumber",
    ] {
        assert!(record["attributes"][name].is_string(), "{name}: {record}");
    }
    assert!(record["receiptHandle"].is_string() && record["messageId"].is_string());
    assert_eq!(record["messageAttributes"], json!({}));
    call.answer(&ok());
}

#[tokio::test]
async fn a_batch_never_has_more_messages_than_it_may() {
    let world = World::fifo(30);
    let bodies: Vec<String> = (0..9).map(|number| number.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    world.send_in("g", &bodies);
    let mut function = world.map(Settings {
        batch_size: 4,
        ..world.settings()
    });

    let mut sizes = Vec::new();
    let mut order = Vec::new();
    while order.len() < 9 {
        let call = function.called().await;
        sizes.push(call.bodies().len());
        order.extend(call.bodies());
        call.answer(&ok());
    }
    assert_eq!(sizes, [4, 4, 1]);
    assert_eq!(order, bodies);
}

#[tokio::test]
async fn what_failed_comes_back_after_its_visibility_and_not_before() {
    let world = World::standard(30);
    world.send(&["a", "b"]);
    let mut function = world.map(Settings {
        window: Duration::from_secs(1),
        ..world.settings()
    });

    let call = function.called().await;
    let bad = call.id_of("b");
    call.answer(&failed(&[&bad]));

    function.is_left_alone(Duration::from_millis(300)).await;
    assert_eq!(world.bodies(), ["b"], "what succeeded is deleted");
    world.queues.advance(TimeDelta::seconds(29));
    function.is_left_alone(Duration::from_millis(200)).await;
    world.queues.advance(TimeDelta::seconds(2));
    let call = function.called().await;
    assert_eq!(call.bodies(), ["b"]);
    assert_eq!(
        call.event["Records"][0]["attributes"]["ApproximateReceiveCount"],
        "2"
    );
    call.answer(&ok());
    world.becomes_empty().await;
}

#[tokio::test]
async fn a_function_error_and_an_unreadable_answer_bring_the_whole_batch_back() {
    let answers: [Result<Value, InvokeError>; 5] = [
        Err(world::crashed()),
        Ok(json!({"batchItemFailures": [{"itemIdentifier": ""}]})),
        Ok(json!({"batchItemFailures": [{"itemIdentifier": "a stranger"}]})),
        Ok(json!({"batchItemFailures": "all"})),
        Ok(json!({"batchItemFailures": [{"id": "x"}]})),
    ];
    for answer in answers {
        let world = World::standard(30);
        world.send(&["a", "b"]);
        let mut function = world.map(Settings {
            window: Duration::from_secs(1),
            ..world.settings()
        });
        let call = function.called().await;
        let before = ids(&call.event);
        call.reply(answer.clone().map(|answer| answer.to_string().into()));

        function.is_left_alone(Duration::from_millis(100)).await;
        assert_eq!(world.bodies(), ["a", "b"], "{answer:?}");
        world.queues.advance(TimeDelta::seconds(31));
        let again = function.called().await;
        assert_eq!(ids(&again.event), before, "{answer:?}");
        again.answer(&ok());
        world.becomes_empty().await;
    }
}

#[tokio::test]
async fn null_and_empty_answers_are_success() {
    for answer in [
        json!(null),
        json!({}),
        json!({"batchItemFailures": null}),
        json!({"batchItemFailures": []}),
    ] {
        let world = World::standard(30);
        world.send(&["a"]);
        let mut function = world.map(world.settings());
        function.called().await.answer(&answer);
        world.becomes_empty().await;
    }
}

#[tokio::test]
async fn without_item_failures_whatever_is_answered_is_success() {
    let world = World::standard(30);
    world.send(&["a"]);
    let mut function = world.map(Settings {
        reports_item_failures: false,
        ..world.settings()
    });
    let call = function.called().await;
    let everything = all_failed(&call.event);
    call.answer(&everything);
    world.becomes_empty().await;
}

#[tokio::test]
async fn a_group_is_one_batch_at_a_time_in_order_and_groups_do_not_wait_for_each_other() {
    let world = World::fifo(30);
    world.send_in("one", &["1a", "1b", "1c"]);
    let mut function = world.map(Settings {
        batch_size: 2,
        ..world.settings()
    });

    let held = function.called().await;
    assert_eq!(held.bodies(), ["1a", "1b"]);
    function.is_left_alone(Duration::from_millis(200)).await;
    world.send_in("two", &["2a"]);
    let other = function.called().await;
    assert_eq!(other.bodies(), ["2a"]);
    other.answer(&ok());
    function.is_left_alone(Duration::from_millis(200)).await;

    let both = all_failed(&held.event);
    held.answer(&both);
    function.is_left_alone(Duration::from_millis(200)).await;
    world.queues.advance(TimeDelta::seconds(31));
    let again = function.called().await;
    assert_eq!(again.bodies(), ["1a", "1b"], "1c does not overtake them");
    again.answer(&ok());
    let last = function.called().await;
    assert_eq!(last.bodies(), ["1c"]);
    last.answer(&ok());
    world.becomes_empty().await;
}

#[tokio::test]
async fn no_more_invocations_run_at_once_than_the_mapping_allows() {
    let world = World::standard(30);
    world.send(&["a", "b", "c", "d"]);
    let limited = Settings {
        batch_size: 1,
        maximum_concurrency: Some(2),
        ..world.settings()
    };
    let mut function = world.map(limited);
    let (first, second) = (function.called().await, function.called().await);
    function.is_left_alone(Duration::from_millis(300)).await;
    first.answer(&ok());
    let third = function.called().await;
    function.is_left_alone(Duration::from_millis(200)).await;
    second.answer(&ok());
    third.answer(&ok());
    function.called().await.answer(&ok());
    world.becomes_empty().await;
}

#[tokio::test]
async fn messages_are_gathered_while_the_window_is_open() {
    let world = World::standard(30);
    let gathering = Settings {
        batch_size: 50,
        window: Duration::from_secs(2),
        ..world.settings()
    };
    let mut function = world.map(gathering);
    world.send(&["a"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.send(&["b", "c"]);
    let call = function.called().await;
    assert_eq!(call.bodies(), ["a", "b", "c"]);
    call.answer(&ok());
    world.becomes_empty().await;
}

#[tokio::test]
async fn a_throttled_batch_is_tried_again_until_it_is_visible_to_others_and_costs_a_receive() {
    let world = World::standard(2);
    world.send(&["a"]);
    let mut function = world.map(world.settings());
    let mut tries = 0;
    let call = loop {
        let call = function.called().await;
        if call.event["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2" {
            break call;
        }
        tries += 1;
        call.reply(Err(InvokeError::Throttled("f".to_owned())));
    };
    assert!((2..=4).contains(&tries), "{tries} tries within two seconds");
    call.answer(&ok());
    world.becomes_empty().await;
}

#[tokio::test]
async fn a_poison_message_ends_in_the_dead_letter_queue_and_its_neighbours_do_not() {
    let world = World::with_dead_letters(30, 3);
    world.send(&["poison", "good"]);
    let mut function = world.map(Settings {
        batch_size: 1,
        ..world.settings()
    });
    let mut poisoned = 0;
    while !world.dead().contains(&"poison".to_owned()) {
        let Some(call) = function.called_within(Duration::from_millis(300)).await else {
            world.queues.advance(TimeDelta::seconds(31));
            continue;
        };
        let answer = if call.bodies() == ["poison"] {
            poisoned += 1;
            all_failed(&call.event)
        } else {
            ok()
        };
        call.answer(&answer);
    }
    assert_eq!(poisoned, 3);
    assert_eq!(world.dead(), ["poison"]);
    assert!(world.bodies().is_empty());
}

#[tokio::test]
async fn messages_that_do_not_fit_into_one_event_are_several_in_order() {
    let world = World::fifo(30);
    let large = "x".repeat(1_000_000);
    let bodies: Vec<String> = (0..8).map(|number| format!("{number}{large}")).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    world.send_in("g", &bodies);
    let mut function = world.map(world.settings());
    let mut order = Vec::new();
    while order.len() < 8 {
        let call = function.called().await;
        assert!(call.event.to_string().len() < 6 * 1024 * 1024 + 100);
        order.extend(call.bodies().into_iter().map(|body| body[..1].to_owned()));
        call.answer(&ok());
    }
    assert_eq!(order.concat(), "01234567");
}

#[tokio::test]
async fn when_it_stops_it_waits_for_the_invocations_under_way() {
    let world = World::standard(30);
    world.send(&["a"]);
    let mut function = world.map(world.settings());
    let call = function.called().await;
    let mut stopped = function.stop();
    let early = tokio::time::timeout(Duration::from_millis(200), &mut stopped).await;
    assert!(early.is_err(), "it left an invocation behind");
    call.answer(&ok());
    stopped.await.unwrap();
    assert!(world.bodies().is_empty());
}
