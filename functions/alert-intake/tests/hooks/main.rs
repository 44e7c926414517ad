//! The route as a sender meets it: the whole router over a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod refusals;
mod world;

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{Intake, incident};

#[sqlx::test(migrations = "../../migrations")]
async fn a_signed_page_opens_an_investigation(pg: PgPool) {
    let intake = Intake::over(pg, 10).await;

    let answer = intake
        .page(&incident("E1", "incident.triggered", "Q1"))
        .await;

    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.body["disposition"], "opened");
    for (field, prefix) in [
        ("alert", "alt_"),
        ("incident", "inc_"),
        ("investigation", "inv_"),
    ] {
        assert!(
            answer.body[field].as_str().unwrap().starts_with(prefix),
            "{answer:?}"
        );
    }
    for table in [
        "deliveries",
        "incidents",
        "alerts",
        "investigations",
        "tickets",
        "outbox",
    ] {
        assert_eq!(intake.count(table).await, 1, "{table}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_same_delivery_twenty_times_at_once_makes_one_investigation(pg: PgPool) {
    let intake = Arc::new(Intake::over(pg, 10).await);
    let body = incident("E1", "incident.triggered", "Q1");

    let deliveries: Vec<_> = (0..20)
        .map(|_| {
            let (intake, body) = (Arc::clone(&intake), body.clone());
            tokio::spawn(async move { intake.page(&body).await })
        })
        .collect();
    let mut investigations = std::collections::BTreeSet::new();
    let mut opened = 0;
    for delivery in deliveries {
        let answer = delivery.await.unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
        opened += usize::from(answer.body["disposition"] == "opened");
        investigations.insert(answer.body["investigation"].as_str().unwrap().to_owned());
    }

    assert_eq!((opened, investigations.len()), (1, 1));
    for table in [
        "deliveries",
        "alerts",
        "investigations",
        "tickets",
        "outbox",
    ] {
        assert_eq!(intake.count(table).await, 1, "{table}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn twenty_events_of_one_incident_at_once_make_one_investigation(pg: PgPool) {
    let intake = Arc::new(Intake::over(pg, 10).await);
    let deliveries: Vec<_> = (0..20)
        .map(|number| {
            let intake = Arc::clone(&intake);
            let body = incident(&format!("E{number}"), "incident.triggered", "Q1");
            tokio::spawn(async move { intake.page(&body).await })
        })
        .collect();
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap().status, 202);
    }
    assert_eq!(intake.count("alerts").await, 20, "every alert is kept");
    for table in ["incidents", "investigations", "tickets"] {
        assert_eq!(intake.count(table).await, 1, "{table}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_later_event_is_linked_and_a_resolve_starts_nothing(pg: PgPool) {
    let intake = Intake::over(pg, 10).await;
    let first = intake
        .page(&incident("E1", "incident.triggered", "Q1"))
        .await;
    let linked = intake
        .page(&incident("E2", "incident.acknowledged", "Q1"))
        .await;
    let resolved = intake
        .page(&incident("E3", "incident.resolved", "Q1"))
        .await;
    let stranger = intake
        .page(&incident("E4", "incident.resolved", "Q2"))
        .await;

    assert_eq!(linked.body["disposition"], "linked");
    assert_eq!(linked.body["investigation"], first.body["investigation"]);
    assert_eq!(resolved.body["disposition"], "resolved");
    assert_eq!(stranger.body["disposition"], "resolved");
    assert_eq!(stranger.body["investigation"], Value::Null);
    assert_eq!(intake.count("investigations").await, 1);
    assert_eq!(intake.count("alerts").await, 4);
}

#[sqlx::test(migrations = "../../migrations")]
async fn above_the_queue_limit_an_alert_is_kept_and_its_sender_is_told(pg: PgPool) {
    let intake = Intake::over(pg, 1).await;
    intake
        .page(&incident("E1", "incident.triggered", "Q1"))
        .await;

    let answer = intake
        .page(&incident("E2", "incident.triggered", "Q2"))
        .await;

    assert_eq!(
        (answer.status, &answer.body["disposition"]),
        (StatusCode::ACCEPTED, &json!("over_limit"))
    );
    assert_eq!(answer.body["investigation"], Value::Null);
    assert!(answer.body["alert"].is_string());
    assert_eq!(intake.count("investigations").await, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_is_authentic_and_starts_nothing_is_kept_and_answered_with_2xx(pg: PgPool) {
    let intake = Intake::over(pg, 10).await;
    let ping = json!({"event": {"id": "E1", "event_type": "pagey.ping", "data": {"type": "ping"}}});
    let ping = intake.page(&ping.to_string()).await;
    assert_eq!(
        (ping.status, &ping.body["disposition"]),
        (StatusCode::ACCEPTED, &json!("ignored"))
    );

    let broken = intake.page("{\"event\": oops").await;
    assert_eq!(broken.status, 202);
    assert_eq!(broken.body["disposition"], "kept_for_inspection");

    let kept: Vec<(String, Vec<u8>)> =
        sqlx::query_as("select disposition, body from deliveries order by received_at, id")
            .fetch_all(&intake.pg)
            .await
            .unwrap();
    assert_eq!(kept[0].0, "ignored");
    assert_eq!(
        kept[1],
        ("malformed".to_owned(), b"{\"event\": oops".to_vec())
    );
    assert_eq!(intake.count("alerts").await, 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_page_with_nul_characters_is_taken_in_all_the_same(pg: PgPool) {
    let intake = Intake::over(pg, 10).await;
    let body = incident("E1", "incident.triggered", "Q\\u0000X")
        .replace("Bread is late", "Bread\\u0000 is late")
        .replace(
            "\"urgency\"",
            "\"custom_details\":{\"k\\u0000\":\"v\\u0000\"},\"urgency\"",
        )
        .replace("\\\\u0000", "\\u0000");
    assert!(body.contains("\\u0000") && serde_json::from_str::<Value>(&body).is_ok());

    let answer = intake.page(&body).await;

    assert_eq!(
        (answer.status, &answer.body["disposition"]),
        (StatusCode::ACCEPTED, &json!("opened"))
    );
}
