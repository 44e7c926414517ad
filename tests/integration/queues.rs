//! Steps over SQS, as the functions send, receive and give them up.

mod account;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use chrono::TimeDelta;
use nightshift_domain::SandboxId;
use nightshift_engine::{
    Clock, dead_letters,
    relay::{Published, publish},
};
use nightshift_lambda::{
    Queue,
    batch::{Message, Order, bring_back, carry_out},
    dead_letters::DeadLetters,
};
use nightshift_protocol::Step;
use nightshift_store::{GivenUp, views::Part};
use nightshift_tests::World;
use sqlx::PgPool;
use tokio::time::Instant;

use account::Sqs;

const PATIENCE: Duration = Duration::from_secs(20);

fn later() -> Instant {
    Instant::now() + PATIENCE
}

async fn send(world: &World, sqs: &Sqs) -> Result<Published> {
    Ok(publish(world.store(), &world.clock, &*sqs.carrier, PATIENCE).await?)
}

/// Writes a step; returns its row.
async fn write(world: &World, step: Step, group: &str) -> Result<i64> {
    let mut tx = world.store().begin().await?;
    tx.enqueue(step, group, world.clock.now()).await?;
    tx.commit().await?;
    Ok(sqlx::query_scalar("select max(id) from outbox")
        .fetch_one(&world.pg)
        .await?)
}

async fn rows(world: &World) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from outbox")
        .fetch_one(&world.pg)
        .await?)
}

/// Receives a batch and carries it out as the queue's function does; tells how many came and how many
/// were given back.
async fn invoke(world: &World, sqs: &Sqs, queue: Queue) -> Result<(usize, usize)> {
    let received = sqs.receive(queue.name())?;
    let messages: Vec<Message> = received
        .iter()
        .map(|message| Message {
            id: message.message_id.clone(),
            receipt: Some(message.receipt_handle.clone()),
            body: message.body.clone(),
            sent_at: None,
            received: None,
        })
        .collect();
    let order = if queue.is_fifo() {
        Order::Strict
    } else {
        Order::Free
    };
    let again = carry_out(queue, order, &messages, later(), &world.platform).await;
    for message in &received {
        if !again.contains(&message.message_id) {
            sqs.delete(queue.name(), message)?;
        }
    }
    Ok((received.len(), again.len()))
}

#[sqlx::test(migrations = "../migrations")]
async fn what_failed_comes_again_in_a_moment_and_not_when_its_function_might_be_dead(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let sqs = Sqs::serve(&world).await?;
    sqs.send(Queue::Retire.name(), "pool", "poison")?;
    let received = sqs.receive(Queue::Retire.name())?;
    let failed = Message {
        id: received[0].message_id.clone(),
        receipt: Some(received[0].receipt_handle.clone()),
        body: "poison".to_owned(),
        sent_at: None,
        received: Some(1),
    };
    let began = Instant::now();

    let again = [failed.id.clone()];
    bring_back(&sqs.carrier, Queue::Retire, &[failed], &again).await;

    assert_eq!(sqs.receive(Queue::Retire.name())?.len(), 0, "not at once");
    // The queue itself would hide it for 30 seconds.
    while sqs.receive(Queue::Retire.name())?.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn an_alert_is_started_by_functions_that_share_nothing_but_queues(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let sqs = Sqs::serve(&world).await?;
    let id = world.alert("one").await?;

    let mut invocations = 0;
    loop {
        send(&world, &sqs).await?;
        let mut idle = true;
        for queue in Queue::ALL {
            let (came, again) = invoke(&world, &sqs, queue).await?;
            assert_eq!(again, 0, "{queue}");
            idle &= came == 0;
            invocations += usize::from(came > 0);
        }
        if idle {
            break;
        }
    }

    assert_eq!(world.investigation(id).await?.state.name(), "starting");
    assert_eq!(rows(&world).await?, 0);
    assert!(
        invocations >= 4,
        "claim, dispatch, pool-refill and provision"
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn steps_go_in_tens_under_their_group_and_copies_go_as_one(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let sqs = Sqs::serve(&world).await?;
    let pool = world.pool;
    for _ in 0..25 {
        write(&world, Step::ClaimWake { pool }, &pool.to_string()).await?;
        let sandbox = SandboxId::generate();
        write(&world, Step::Retire { sandbox }, &sandbox.to_string()).await?;
    }

    let published = send(&world, &sqs).await?;

    assert_eq!((published.accepted, published.left), (50, 0));
    assert_eq!(rows(&world).await?, 0);
    assert_eq!(sqs.bodies(Queue::Claim.name()).len(), 1);
    assert_eq!(sqs.bodies(Queue::Retire.name()).len(), 25);
    for message in sqs.receive(Queue::Retire.name())? {
        let group = &message.attributes["MessageGroupId"];
        assert!(message.body.contains(group), "{}: {group}", message.body);
    }
    let wakes = sqs.receive(Queue::Claim.name())?;
    let wake = wakes.first().context("no wake")?;
    assert_eq!(wake.attributes["MessageGroupId"], pool.to_string());
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn one_refused_message_is_parked_and_its_neighbours_are_sent(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let sqs = Sqs::serve(&world).await?;
    for number in 0..3 {
        let sandbox = SandboxId::generate();
        let row = write(&world, Step::Retire { sandbox }, &sandbox.to_string()).await?;
        if number == 1 {
            // SQS takes no control characters.
            sqlx::query(r#"update outbox set payload = '"\u0001"' where id = $1"#)
                .bind(row)
                .execute(&world.pg)
                .await?;
        }
    }

    let published = send(&world, &sqs).await?;

    assert_eq!((published.accepted, published.left), (2, 1));
    assert_eq!(sqs.bodies(Queue::Retire.name()).len(), 2);
    let error: String =
        sqlx::query_scalar("select last_error from outbox where dead_at is not null")
            .fetch_one(&world.pg)
            .await?;
    assert!(error.contains("retire refuses it"), "{error}");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_kind_that_no_queue_carries_is_parked_and_hinders_nobody(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let sqs = Sqs::serve(&world).await?;
    let sandbox = SandboxId::generate();
    let row = write(&world, Step::Retire { sandbox }, &sandbox.to_string()).await?;
    sqlx::query("update outbox set kind = 'dance' where id = $1")
        .bind(row)
        .execute(&world.pg)
        .await?;
    write(&world, Step::Retire { sandbox }, &sandbox.to_string()).await?;

    let published = send(&world, &sqs).await?;

    assert_eq!((published.accepted, published.left), (1, 1));
    let parked = world.store().parked_steps().await?;
    assert_eq!(parked, [("dance".to_owned(), 1)]);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_queue_that_is_not_there_parks_nothing_and_gets_its_steps_later(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let sqs = Sqs::serve_without_queues(&world).await?;
    let sandbox = SandboxId::generate();
    write(&world, Step::Retire { sandbox }, &sandbox.to_string()).await?;
    for _ in 0..20 {
        send(&world, &sqs).await?;
        world.clock.advance(TimeDelta::minutes(2));
    }
    assert!(world.store().parked_steps().await?.is_empty());

    sqs.create()?;
    let published = send(&world, &sqs).await?;

    assert_eq!(published.accepted, 1);
    assert_eq!(sqs.bodies(Queue::Retire.name()).len(), 1);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_wake_whose_row_was_not_deleted_is_sent_again_and_arrives_once(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let sqs = Sqs::serve(&world).await?;
    let pool = world.pool;
    write(&world, Step::ClaimWake { pool }, &pool.to_string()).await?;
    sqlx::query("create table kept as select * from outbox")
        .execute(&world.pg)
        .await?;
    send(&world, &sqs).await?;
    // As if whoever sent it had died before it deleted the row.
    sqlx::query("insert into outbox overriding system value select * from kept")
        .execute(&world.pg)
        .await?;

    let again = send(&world, &sqs).await?;

    assert_eq!(again.accepted, 1);
    assert_eq!(sqs.bodies(Queue::Claim.name()).len(), 1);
    // A wake of its own is not taken for a copy.
    write(&world, Step::ClaimWake { pool }, &pool.to_string()).await?;
    send(&world, &sqs).await?;
    assert_eq!(sqs.bodies(Queue::Claim.name()).len(), 2);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_queue_gave_up_is_parked_once_and_returns_byte_for_byte(pg: PgPool) -> Result<()> {
    let world = World::builder().build(pg).await?;
    let sqs = Sqs::serve(&world).await?;
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let dead_letters = DeadLetters::new(sqs.carrier.clone(), world.store().clone(), clock);
    let poison = r#"{ "v": 9, "step": "dance" } "#;
    sqs.send(Queue::Retire.name(), "a-group", poison)?;
    while sqs.bodies(Queue::Retire.dead_name()).is_empty() {
        let (came, again) = invoke(&world, &sqs, Queue::Retire).await?;
        assert_eq!(came, again);
        sqs.let_time_pass();
    }
    // The queue shows it twice, as after a deletion that was lost.
    let id = sqs.only_id(Queue::Retire.dead_name())?;
    assert!(sqs.duplicate(Queue::Retire.dead_name(), &id));

    assert_eq!(dead_letters.park(later()).await?, 1);

    let part = Part {
        before: None,
        limit: 10,
    };
    let parked = world.store().view_dead_letters(None, part).await?;
    assert_eq!(parked.len(), 1);
    let letter = parked.first().context("nothing is parked")?;
    assert_eq!(
        (letter.kind.as_str(), letter.group_key.as_str()),
        ("retire", "a-group")
    );
    let error = letter.last_error.as_deref().unwrap_or_default();
    assert!(
        error.contains("retire-dead") && error.contains("cannot be read"),
        "{error}"
    );
    assert!(letter.attempts >= 5, "{}", letter.attempts);
    assert!(sqs.bodies(Queue::Retire.dead_name()).is_empty());

    dead_letters::redrive(world.store(), &world.clock, letter.id).await?;
    let published = send(&world, &sqs).await?;
    assert_eq!(published.accepted, 1);
    assert_eq!(sqs.bodies(Queue::Retire.name()), [poison]);

    // However late it is shown again, it is known.
    let late = GivenUp {
        message_id: id,
        kind: "retire".to_owned(),
        group_key: "a-group".to_owned(),
        payload: serde_json::json!({}),
        received: 6,
        sent_at: world.clock.now(),
        error: "shown again".to_owned(),
    };
    let new = dead_letters::park(world.store(), &world.clock, &[late]).await?;
    assert_eq!((new, rows(&world).await?), (0, 0));
    Ok(())
}
