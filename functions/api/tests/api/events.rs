//! Following an investigation, and asking its agent.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use nightshift_engine::Clock;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::World;

#[sqlx::test(migrations = "../../migrations")]
async fn events_come_when_they_happen_and_not_only_when_asked_again(pg: PgPool) {
    let world = World::new(pg).await;
    let id = world.alert(0, "bread").await;
    let path = format!("/v1/investigations/{id}/events");

    let first = world.read(&path).await;
    assert_eq!(first.body["items"][0]["kind"], "accepted");
    let after = first.body["next_after"].as_i64().unwrap();

    let waiting = {
        let (world, path) = (world.clone(), format!("{path}?after={after}&wait_ms=20000"));
        tokio::spawn(async move { (world.read(&path).await, Instant::now()) })
    };
    // Long enough for the request to have found nothing and to wait.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    let written = Instant::now();
    world.add_event(id, "claimed", 5).await;
    let (answer, answered) = waiting.await.unwrap();

    assert_eq!(answer.body["items"][0]["kind"], "claimed");
    assert_eq!(answer.body["items"].as_array().unwrap().len(), 1);
    assert!(
        answered - written < Duration::from_secs(2),
        "{:?}",
        answered - written
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn waiting_for_events_ends_in_time_and_events_of_others_do_not_end_it(pg: PgPool) {
    let world = World::new(pg).await;
    let (id, other) = (
        world.alert(0, "bread").await,
        world.alert(0, "butter").await,
    );
    let after = world
        .read(&format!("/v1/investigations/{id}/events"))
        .await
        .body["next_after"]
        .clone();
    let began = Instant::now();
    let waiting = {
        let path = format!("/v1/investigations/{id}/events?after={after}&wait_ms=700");
        let world = world.clone();
        tokio::spawn(async move { world.read(&path).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.add_event(other, "claimed", 5).await;
    let answer = waiting.await.unwrap();

    assert!(answer.body["items"].as_array().unwrap().is_empty());
    assert_eq!(answer.body["next_after"], after);
    assert!(
        began.elapsed() >= Duration::from_millis(700),
        "{:?}",
        began.elapsed()
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_message_is_passed_on_and_shown_until_the_investigation_is_over(pg: PgPool) {
    let world = World::new(pg).await;
    let id = world.alert(0, "bread").await;
    let path = format!("/v1/investigations/{id}/messages");

    let sent = world
        .send(&path, &json!({"author": "ada", "text": "which oven?"}))
        .await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{:?}", sent.body);
    let detail = world.read(&format!("/v1/investigations/{id}")).await;
    assert_eq!(detail.body["messages"][0]["id"], sent.body["message"]);
    assert_eq!(detail.body["messages"][0]["text"], "which oven?");
    assert_eq!(detail.body["messages"][0]["answer"], Value::Null);

    for bad in [
        json!({"author": "ada", "text": " "}),
        json!({"author": "", "text": "x"}),
        json!({"author": "ada", "text": "x".repeat(8_001)}),
        json!({"author": "ada", "text": "a\u{0}b"}),
        json!({"author": "ada"}),
        json!({"author": "ada", "text": "x", "tenant": "other"}),
    ] {
        assert_eq!(
            world.send(&path, &bad).await.status,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
    let huge = json!({"author": "ada", "text": "x".repeat(70_000)});
    assert_eq!(
        world.send(&path, &huge).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );

    let now = world.clock.now();
    let mut tx = world.store.begin().await.unwrap();
    let found = tx.investigation(id).await.unwrap().unwrap();
    tx.apply(found.cancel("enough", now).unwrap(), now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let late = world
        .send(&path, &json!({"author": "ada", "text": "and now?"}))
        .await;
    assert_eq!((late.status, late.kind()), (StatusCode::CONFLICT, "closed"));
}
