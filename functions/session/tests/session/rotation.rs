//! What the routes of session do while the signing key is rotated.

use std::time::Duration;

use axum::http::StatusCode;
use chrono::TimeDelta;
use nightshift_protocol::{
    RunClaims,
    attestation::{AttestAnswer, RefreshAnswer},
};
use nightshift_session::keys::{NextKey, rotate};
use serde_json::Value;
use sqlx::PgPool;

use crate::world::{self, THUMBPRINT, World};

fn kids(published: &Value) -> Vec<&str> {
    let keys = published["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["kid"].as_str().unwrap())
        .collect()
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_rotated_file_is_noticed_published_at_once_and_signs_when_its_time_has_come(pg: PgPool) {
    let world = World::new(pg).await;
    world.claimed("m1").await;
    let answer = world.attest(&world.statement("m1")).await;
    let first: AttestAnswer = serde_json::from_value(answer.body).unwrap();
    let before = world.jwks().await;
    assert_eq!(kids(&before).len(), 1);

    // The clock of this world stands, at the second at which the next key begins.
    let file = world.keys.path().join("key.pem");
    let lead = TimeDelta::minutes(15);
    rotate(&file, &NextKey::New, lead, world.now() - lead).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;

    let answer = world
        .refresh(&world.statement("m1"), THUMBPRINT, first.epoch.0)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let fresh: RefreshAnswer = serde_json::from_value(answer.body).unwrap();
    let after = world.jwks().await;
    assert_eq!(kids(&after).len(), 2);
    assert_eq!(
        kids(&after)[1],
        kids(&before)[0],
        "the old one is still there"
    );
    for issued in first.tokens.iter().chain(&fresh.tokens) {
        let _: RunClaims = world::verified(&issued.token, &after);
    }
    let by_the_new_one = fresh.tokens.iter().all(|issued| {
        let header = issued.token.split('.').next().unwrap();
        first
            .tokens
            .iter()
            .all(|old| !old.token.starts_with(header))
    });
    assert!(by_the_new_one);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_set_that_cannot_be_read_leaves_the_last_one_in_force(pg: PgPool) {
    let world = World::new(pg).await;
    world.claimed("m1").await;
    let before = world.jwks().await;
    std::fs::write(world.keys.path().join("key.pem"), "{\"keys\": []}").unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;

    assert_eq!(world.jwks().await, before);
    let answer = world.attest(&world.statement("m1")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn of_many_that_renew_with_one_statement_at_once_exactly_one_gets_tokens(pg: PgPool) {
    let world = World::new(pg).await;
    world.claimed("m1").await;
    let answer = world.attest(&world.statement("m1")).await;
    let first: AttestAnswer = serde_json::from_value(answer.body).unwrap();

    let statement = world.statement("m1");
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (world, statement) = (world.clone(), statement.clone());
            let epoch = first.epoch.0;
            tokio::spawn(async move { world.refresh(&statement, THUMBPRINT, epoch).await })
        })
        .collect();
    let mut renewed = 0;
    for one in tries {
        let answer = one.await.unwrap();
        match answer.status {
            StatusCode::OK => renewed += 1,
            StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE => {
                assert!(answer.body.get("tokens").is_none());
            }
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!(renewed, 1);
}
