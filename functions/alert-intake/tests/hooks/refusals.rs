//! Deliveries that prove nothing, are too large, or meet us in a bad moment.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use nightshift_alert_intake::MAX_BODY_BYTES;
use serde_json::json;
use sqlx::PgPool;
use tower::ServiceExt;

use crate::world::{Answer, Intake, OLD_SECRET, SECRET, incident, now, sign};

#[sqlx::test(migrations = "../../migrations")]
async fn either_secret_of_a_rotation_is_accepted(pg: PgPool) {
    let intake = Intake::over(pg, 10).await;
    let body = incident("E1", "incident.triggered", "Q1");
    let old = format!("v1={}", sign(OLD_SECRET, body.as_bytes()));
    let headers = [("x-pagerduty-signature", old)];
    let answer = intake
        .post("/v1/hooks/pd-token", &headers, Body::from(body))
        .await;
    assert_eq!(answer.status, 202);
}

#[sqlx::test(migrations = "../../migrations")]
async fn every_wrong_signature_gets_one_answer_and_leaves_nothing(pg: PgPool) {
    let intake = Intake::over(pg, 10).await;
    let body = incident("E1", "incident.triggered", "Q1");
    let right = sign(SECRET, body.as_bytes());
    let mut last_digit_off = right.clone();
    let digit = if last_digit_off.pop() == Some('0') {
        '1'
    } else {
        '0'
    };
    last_digit_off.push(digit);
    let mut answers = vec![];
    for headers in [
        vec![],
        vec![("x-pagerduty-signature", format!("v1={last_digit_off}"))],
        vec![("x-pagerduty-signature", format!("v0={right}"))],
        vec![(
            "x-pagerduty-signature",
            format!("v1={}", sign("guess", body.as_bytes())),
        )],
        vec![("x-hub-signature-256", format!("sha256={right}"))],
    ] {
        answers.push(
            intake
                .post("/v1/hooks/pd-token", &headers, Body::from(body.clone()))
                .await,
        );
    }
    // The right signature over other bytes.
    let signature = [("x-pagerduty-signature", format!("v1={right}"))];
    let other = Body::from(format!("{body} "));
    answers.push(intake.post("/v1/hooks/pd-token", &signature, other).await);

    assert_eq!(answers[0].status, 401);
    assert_eq!(
        answers[0].headers[header::CONTENT_TYPE],
        "application/problem+json"
    );
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:#?}"
    );
    assert_eq!(intake.count("deliveries").await, 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_unknown_address_is_answered_in_the_same_form(pg: PgPool) {
    let intake = Intake::over(pg, 10).await;
    let body = incident("E1", "incident.triggered", "Q1");
    let signature = [(
        "x-pagerduty-signature",
        format!("v1={}", sign(SECRET, body.as_bytes())),
    )];
    let unknown = intake
        .post("/v1/hooks/nobody", &signature, Body::from(body.clone()))
        .await;
    let refused = intake
        .post("/v1/hooks/pd-token", &[], Body::from(body))
        .await;

    assert_eq!(unknown.status, 404);
    let fields = |answer: &Answer| {
        let names = answer
            .body
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>();
        (names, answer.headers.keys().cloned().collect::<Vec<_>>())
    };
    assert_eq!(fields(&unknown), fields(&refused));
    let get = Request::get("/v1/hooks/pd-token")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        intake.router.clone().oneshot(get).await.unwrap().status(),
        405
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not(pg: PgPool) {
    let intake = Intake::over(pg, 10).await;
    let body = incident("E1", "incident.triggered", "Q1");
    let padded = |size: usize| format!("{body}{}", " ".repeat(size - body.len()));

    let exact = intake.page(&padded(MAX_BODY_BYTES)).await;
    assert_eq!(
        (exact.status, &exact.body["disposition"]),
        (StatusCode::ACCEPTED, &json!("opened"))
    );
    let over = intake.page(&padded(MAX_BODY_BYTES + 1)).await;
    assert_eq!(over.status, 413);
    assert_eq!(over.body["type"], "too-large");
    assert_eq!(intake.count("deliveries").await, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_generic_sender_signs_the_time_too_and_cannot_be_replayed_later(pg: PgPool) {
    let intake = Intake::over(pg, 10).await;
    let body =
        json!({"id": "oven-7", "title": "Oven 7 is cold", "severity": "critical"}).to_string();
    let signed_at = |time: i64| {
        let mac = sign(SECRET, format!("{time}.{body}").as_bytes());
        [("x-nightshift-signature", format!("t={time},v1={mac}"))]
    };
    let post = async |time: i64| {
        intake
            .post(
                "/v1/hooks/any-token",
                &signed_at(time),
                Body::from(body.clone()),
            )
            .await
    };
    let time = now().timestamp();

    assert_eq!(post(time - 301).await.status, 401);
    assert_eq!(post(time + 301).await.status, 401);
    assert_eq!(intake.count("deliveries").await, 0);
    let opened = post(time).await;
    assert_eq!(
        (opened.status, &opened.body["disposition"]),
        (StatusCode::ACCEPTED, &json!("opened"))
    );
    assert_eq!(post(time - 300).await.body["disposition"], "duplicate");
}

#[sqlx::test(migrations = "../../migrations")]
async fn when_we_fail_the_sender_is_asked_to_try_again(pg: PgPool) {
    let intake = Intake::over(pg, 10).await;
    let body = incident("E1", "incident.triggered", "Q1");

    // The secrets cannot be read: nothing may be said about the sender, least of all "forged".
    let path = intake.secrets.path().join("secrets.sealed");
    let hidden = intake.secrets.path().join("hidden.sealed");
    std::fs::rename(&path, &hidden).unwrap();
    let without_secrets = intake.page(&body).await;
    std::fs::rename(&hidden, &path).unwrap();
    assert_eq!(without_secrets.status, 503);

    intake.acting.close().await;
    let without_store = intake.page(&body).await;
    assert_eq!(without_store.status, 503);
    assert_eq!(without_store.headers[header::RETRY_AFTER], "2");
    assert_eq!(without_store.body["type"], "unavailable");
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_address_that_no_database_would_take_is_unknown_and_no_failure(pg: PgPool) {
    let intake = Intake::over(pg, 10).await;
    for path in [
        "/v1/hooks/%00",
        "/v1/hooks/pd-token%00",
        "/v1/hooks/%F0%9F%8D%9E",
    ] {
        let answer = intake.post(path, &[], Body::from("{}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}
