//! The queues as plain state: what no outsider can ask of AWS, or not in reasonable time.

#![expect(
    clippy::unwrap_used,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a helper fails its test; queue names are case-sensitive"
)]

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_queues::actions::{
    ChangeMessageVisibility, CreateQueue, DeleteMessage, ReceiveMessage, ReceivedMessage,
    SendEntry, SendMessage, SendMessageBatch, SetQueueAttributes,
};
use nightshift_queues::{Account, Code, Dials, Identity};

const START: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn account(seed: u64, dials: Dials) -> Account {
    let identity = Identity {
        account: "000000000000".to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint: "http://queues".to_owned(),
    };
    Account::new(identity, seed, dials)
}

fn create(account: &mut Account, name: &str, attributes: &[(&str, &str)]) -> String {
    let attributes = attributes
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let create = CreateQueue {
        queue_name: name.to_owned(),
        attributes,
        tags: BTreeMap::new(),
    };
    account.perform(START, create).unwrap().queue_url
}

fn send(account: &mut Account, url: &str, body: &str, group: Option<&str>) -> String {
    let message = SendMessage {
        queue_url: url.to_owned(),
        message_body: body.to_owned(),
        message_group_id: group.map(str::to_owned),
        message_deduplication_id: url.ends_with(".fifo").then(|| body.to_owned()),
        ..SendMessage::default()
    };
    account.perform(START, message).unwrap().message_id
}

fn receive(
    account: &mut Account,
    now: DateTime<Utc>,
    url: &str,
    most: i64,
) -> Vec<ReceivedMessage> {
    let receive = ReceiveMessage {
        queue_url: url.to_owned(),
        max_number_of_messages: Some(most),
        ..ReceiveMessage::default()
    };
    account.perform(now, receive).unwrap().messages
}

fn delete(account: &mut Account, now: DateTime<Utc>, url: &str, message: &ReceivedMessage) {
    let delete = DeleteMessage {
        queue_url: url.to_owned(),
        receipt_handle: message.receipt_handle.clone(),
    };
    account.perform(now, delete).unwrap();
}

fn fill(account: &mut Account, url: &str, group: Option<&str>, count: usize) {
    for batch in 0..count / 10 {
        let entries = (0..10).map(|index| SendEntry {
            id: index.to_string(),
            message_body: "x".to_owned(),
            message_group_id: group.map(str::to_owned),
            message_deduplication_id: group.map(|_| format!("{batch}-{index}")),
            ..SendEntry::default()
        });
        let batch = SendMessageBatch {
            queue_url: url.to_owned(),
            entries: entries.collect(),
        };
        assert!(account.perform(START, batch).unwrap().failed.is_empty());
    }
}

#[test]
fn a_standard_queue_has_at_most_120_000_messages_in_flight_and_tells_a_short_poll() {
    let mut account = account(1, Dials::default());
    let url = create(&mut account, "q", &[]);
    fill(&mut account, &url, None, 120_010);
    let mut received = 0;
    for _ in 0..12_000 {
        received += receive(&mut account, START, &url, 10).len();
    }
    assert_eq!(received, 120_000);
    let poll = |wait| ReceiveMessage {
        queue_url: url.clone(),
        wait_time_seconds: Some(wait),
        ..ReceiveMessage::default()
    };
    assert_eq!(
        account.perform(START, poll(0)).unwrap_err().code,
        Code::OverLimit
    );
    assert!(account.perform(START, poll(1)).unwrap().messages.is_empty());
    let shown = account
        .perform(START + TimeDelta::seconds(30), poll(0))
        .unwrap();
    assert_eq!(shown.messages.len(), 1);
}

#[test]
fn a_fifo_queue_looks_for_groups_in_its_first_120_000_messages_only() {
    let mut account = account(1, Dials::default());
    let url = create(&mut account, "q.fifo", &[("FifoQueue", "true")]);
    fill(&mut account, &url, Some("deep"), 120_010);
    send(&mut account, &url, "starved", Some("other"));
    let first = receive(&mut account, START, &url, 1);
    assert!(
        receive(&mut account, START, &url, 1).is_empty(),
        "it looked too far"
    );
    delete(&mut account, START, &url, &first[0]);
    let next = receive(&mut account, START, &url, 10);
    assert_eq!(next.len(), 10);
    for message in &next {
        delete(&mut account, START, &url, message);
    }
    receive(&mut account, START, &url, 1);
    let other = receive(&mut account, START, &url, 1);
    assert_eq!(other[0].body, "starved");
}

#[test]
fn a_tenant_with_a_backlog_does_not_hold_up_another_ones_message() {
    let mut account = account(1, Dials::default());
    let url = create(&mut account, "q", &[]);
    for index in 0..100 {
        send(&mut account, &url, &format!("noisy {index}"), Some("noisy"));
    }
    send(&mut account, &url, "quiet", Some("quiet"));
    receive(&mut account, START, &url, 1);
    assert_eq!(receive(&mut account, START, &url, 1)[0].body, "quiet");
    let rest = receive(&mut account, START, &url, 10);
    assert_eq!(
        rest.len(),
        10,
        "messages of one group are received in parallel"
    );
}

#[test]
fn the_dials_make_a_standard_queue_deliver_twice_and_out_of_order_but_lose_nothing() {
    let dials = Dials {
        duplicate: 0.3,
        reorder: 0.5,
        overlook: 0.2,
    };
    let mut account = account(7, dials);
    let url = create(&mut account, "q", &[]);
    let sent: Vec<_> = (0..200)
        .map(|index| send(&mut account, &url, &format!("{index:03}"), None))
        .collect();
    let mut bodies = Vec::new();
    let mut ids = BTreeSet::new();
    while account.counts("q", START).unwrap().visible > 0 {
        for message in receive(&mut account, START, &url, 10) {
            delete(&mut account, START, &url, &message);
            ids.insert(message.message_id);
            bodies.push(message.body);
        }
    }
    assert_eq!(ids, sent.into_iter().collect());
    assert!(
        bodies.len() > 220,
        "{} deliveries of 200 messages",
        bodies.len()
    );
    assert!(!bodies.is_sorted(), "in order");
}

#[test]
fn a_fifo_queue_is_not_touched_by_the_dials() {
    let dials = Dials {
        duplicate: 0.9,
        reorder: 1.0,
        overlook: 0.9,
    };
    let mut account = account(7, dials);
    let url = create(&mut account, "q.fifo", &[("FifoQueue", "true")]);
    for index in 0..20 {
        send(&mut account, &url, &format!("{index:02}"), Some("g"));
    }
    let mut bodies = Vec::new();
    for _ in 0..4 {
        for message in receive(&mut account, START, &url, 5) {
            delete(&mut account, START, &url, &message);
            bodies.push(message.body);
        }
    }
    let expected: Vec<_> = (0..20).map(|index| format!("{index:02}")).collect();
    assert_eq!(bodies, expected);
}

#[test]
fn the_same_seed_and_calls_give_the_same_ids_handles_and_faults() {
    let run = |seed| {
        let mut account = account(
            seed,
            Dials {
                duplicate: 0.4,
                reorder: 0.4,
                overlook: 0.1,
            },
        );
        let url = create(&mut account, "q", &[]);
        for index in 0..50 {
            send(&mut account, &url, &index.to_string(), None);
        }
        (0..20)
            .flat_map(|_| receive(&mut account, START, &url, 3))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn a_fifo_queue_never_loses_its_order_whatever_its_receivers_do() {
    for seed in 0..200_u64 {
        let mut account = account(seed, Dials::default());
        let url = create(
            &mut account,
            "q.fifo",
            &[("FifoQueue", "true"), ("VisibilityTimeout", "10")],
        );
        let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for index in 0..30_u64 {
            let group = format!("g{}", (index * 7 + seed) % 3);
            let body = format!("{group}-{index:02}");
            send(&mut account, &url, &body, Some(&group));
            sent.entry(group).or_default().push(body);
        }
        let mut random = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut draw = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut now = START;
        let mut done: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for _ in 0..2_000 {
            if done.values().map(Vec::len).sum::<usize>() == 30 {
                break;
            }
            let most = i64::try_from(draw(10) + 1).unwrap();
            for message in receive(&mut account, now, &url, most) {
                let group = message.body.split('-').next().unwrap().to_owned();
                let finished = done.entry(group.clone()).or_default();
                match draw(4) {
                    // Left to its visibility timeout; what follows it in the batch must not be finished.
                    0 => break,
                    1 => {
                        let change = ChangeMessageVisibility {
                            queue_url: url.clone(),
                            receipt_handle: message.receipt_handle,
                            visibility_timeout: Some(0),
                        };
                        account.perform(now, change).unwrap();
                        break;
                    }
                    _ => {
                        assert_eq!(message.body, sent[&group][finished.len()], "seed {seed}");
                        delete(&mut account, now, &url, &message);
                        finished.push(message.body);
                    }
                }
            }
            now += TimeDelta::seconds(i64::try_from(draw(12)).unwrap());
        }
        assert_eq!(done, sent, "seed {seed}: something is stuck");
    }
}

#[test]
fn a_dead_letter_keeps_its_age_on_a_standard_queue_and_starts_over_on_a_fifo_queue() {
    for (suffix, lives_on) in [("", false), (".fifo", true)] {
        let mut account = account(1, Dials::default());
        let fifo: &[(&str, &str)] = if suffix.is_empty() {
            &[]
        } else {
            &[("FifoQueue", "true")]
        };
        let with = |more: &[(&'static str, &'static str)]| [fifo, more].concat();
        let dead = create(
            &mut account,
            &format!("dead{suffix}"),
            &with(&[("MessageRetentionPeriod", "60")]),
        );
        let url = create(
            &mut account,
            &format!("q{suffix}"),
            &with(&[("VisibilityTimeout", "50")]),
        );
        let policy = format!(
            r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":1}}"#,
            account.arn(&format!("dead{suffix}"))
        );
        let set = SetQueueAttributes {
            queue_url: url.clone(),
            attributes: BTreeMap::from([("RedrivePolicy".to_owned(), policy)]),
        };
        account.perform(START, set).unwrap();
        send(&mut account, &url, "poison", fifo.first().map(|_| "g"));
        assert_eq!(receive(&mut account, START, &url, 1).len(), 1);
        let later = START + TimeDelta::seconds(50);
        assert!(receive(&mut account, later, &url, 1).is_empty());
        let after = START + TimeDelta::seconds(70);
        assert_eq!(
            !receive(&mut account, after, &dead, 1).is_empty(),
            lives_on,
            "dead{suffix}"
        );
    }
}

#[test]
fn an_injected_duplicate_comes_again_though_the_first_copy_was_deleted() {
    let mut account = account(1, Dials::default());
    let url = create(&mut account, "q", &[]);
    let id = send(&mut account, &url, "a", None);
    let first = receive(&mut account, START, &url, 1);
    assert!(account.duplicate("q", &id));
    delete(&mut account, START, &url, &first[0]);
    let second = receive(&mut account, START, &url, 1);
    assert_eq!(second[0].message_id, id);
    assert_ne!(second[0].receipt_handle, first[0].receipt_handle);
}

#[test]
fn expired_visibility_can_be_injected_on_every_queue() {
    let mut account = account(1, Dials::default());
    for (name, attributes) in [("q", vec![]), ("q.fifo", vec![("FifoQueue", "true")])] {
        let url = create(&mut account, name, &attributes);
        for body in ["a", "b"] {
            send(&mut account, &url, body, Some("g"));
        }
        assert_eq!(receive(&mut account, START, &url, 2).len(), 2);
        assert_eq!(account.expire_in_flight(name), 2);
        let again: Vec<_> = receive(&mut account, START, &url, 2)
            .into_iter()
            .map(|message| message.body)
            .collect();
        assert_eq!(again, ["a", "b"], "{name}");
    }
}

#[test]
fn what_was_refused_changed_nothing() {
    let mut account = account(1, Dials::default());
    let url = create(&mut account, "q", &[]);
    send(&mut account, &url, "a", None);
    let before = (account.revision(), account.counts("q", START));
    let too_long = SendMessage {
        queue_url: url.clone(),
        message_body: "b".to_owned(),
        delay_seconds: Some(901),
        ..SendMessage::default()
    };
    account.perform(START, too_long).unwrap_err();
    let bad = BTreeMap::from([
        ("DelaySeconds".to_owned(), "5".to_owned()),
        ("VisibilityTimeout".to_owned(), "-1".to_owned()),
    ]);
    account
        .perform(
            START,
            SetQueueAttributes {
                queue_url: url.clone(),
                attributes: bad,
            },
        )
        .unwrap_err();
    assert_eq!((account.revision(), account.counts("q", START)), before);
    send(&mut account, &url, "c", None);
    assert_eq!(
        account.counts("q", START).unwrap().visible,
        2,
        "the delay was set all the same"
    );
}

#[test]
fn time_does_not_run_backwards() {
    let mut account = account(1, Dials::default());
    let url = create(&mut account, "q", &[]);
    send(&mut account, &url, "a", None);
    receive(&mut account, START + TimeDelta::hours(1), &url, 1);
    assert!(receive(&mut account, START, &url, 1).is_empty());
    let next = account.next_visible_at("q").unwrap();
    assert_eq!(next, START + TimeDelta::hours(1) + TimeDelta::seconds(30));
}
