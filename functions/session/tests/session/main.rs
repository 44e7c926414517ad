//! The session routes as a sandbox meets them: a real identity service, a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod issuer;
mod kms;
mod rotation;
mod statements;
mod world;

use axum::http::StatusCode;
use nightshift_domain::{Epoch, scope::Audience};
use nightshift_protocol::{RunClaims, attestation::AttestAnswer};
use serde_json::json;
use sqlx::PgPool;

use crate::world::{OTHER_THUMBPRINT, THUMBPRINT, World};

#[sqlx::test(migrations = "../../migrations")]
async fn a_claimed_machine_gets_its_brief_and_one_token_a_server_once(pg: PgPool) {
    let world = World::new(pg).await;
    let run = world.claimed("m1").await;

    let answer = world.attest(&world.statement("m1")).await;

    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let got: AttestAnswer = serde_json::from_value(answer.body).unwrap();
    assert_eq!(got.epoch, Epoch(1));
    assert_eq!(got.brief.investigation, run.investigation);
    assert_eq!(got.brief.title, "m1 is slow");
    assert_eq!(
        got.brief.endpoints.telemetry,
        "http://telemetry.nightshift.internal/mcp"
    );
    assert_eq!(got.brief.endpoints.llm, "http://llm.nightshift.internal");
    assert!(
        !got.brief.instructions.contains("m1 is slow"),
        "strangers do not write the prompt"
    );
    assert_eq!(got.tokens.len(), Audience::ALL.len());
    let published = world.jwks().await;
    for issued in &got.tokens {
        let claims: RunClaims = world::verified(&issued.token, &published);
        assert_eq!(claims.investigation, run.investigation);
        assert_eq!((claims.sandbox, claims.epoch), (run.sandbox, Epoch(1)));
        assert_eq!(claims.cnf.jkt, THUMBPRINT);
        assert_eq!(claims.aud, issued.audience.as_str());
    }
    assert_eq!(world.state_of(run.investigation).await, "working");

    let again = world.attest(&world.statement("m1")).await;
    assert_eq!(
        (again.status, again.kind()),
        (StatusCode::CONFLICT, "already-attested")
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn of_many_that_attest_at_once_exactly_one_gets_the_brief(pg: PgPool) {
    let world = World::new(pg).await;
    world.claimed("m1").await;
    let attempts: Vec<_> = (0..10)
        .map(|_| {
            let (world, statement) = (world.clone(), world.statement("m1"));
            tokio::spawn(async move { world.attest(&statement).await })
        })
        .collect();
    let mut winners = 0;
    for attempt in attempts {
        let answer = attempt.await.unwrap();
        match answer.status {
            StatusCode::OK => winners += 1,
            // A loser that meets the winner half-way is told to stop or to try again.
            StatusCode::CONFLICT | StatusCode::GONE | StatusCode::SERVICE_UNAVAILABLE => {
                assert!(answer.body.get("tokens").is_none());
            }
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!(winners, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_machine_that_nobody_claimed_gets_nothing(pg: PgPool) {
    let world = World::new(pg).await;
    world.ready("m1").await;
    let answer = world.attest(&world.statement("m1")).await;
    assert_eq!(
        (answer.status, answer.kind()),
        (StatusCode::CONFLICT, "not-claimed")
    );
    assert_eq!(answer.content_type, "application/problem+json");
    assert!(answer.body.get("brief").is_none() && answer.body.get("tokens").is_none());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_statement_that_was_used_is_worth_nothing_even_to_its_machine(pg: PgPool) {
    let world = World::new(pg).await;
    world.ready("m1").await;
    let statement = world.statement("m1");
    assert_eq!(world.attest(&statement).await.kind(), "not-claimed");
    // Now it is claimed, and somebody presents what was overheard before.
    let run = world.claim("m1").await;

    let replayed = world.attest(&statement).await;

    assert_eq!(
        (replayed.status, replayed.kind()),
        (StatusCode::UNAUTHORIZED, "bad-statement")
    );
    assert_eq!(world.state_of(run.investigation).await, "starting");
    assert_eq!(
        world.attest(&world.statement("m1")).await.status,
        StatusCode::OK
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn every_part_of_a_statement_must_be_the_claimed_machines(pg: PgPool) {
    let world = World::new(pg).await;
    let run = world.claimed("m1").await;
    let mut answers = vec![];
    for (claim, value) in [
        ("machine_id", "m2"),
        ("app_name", "another-app"),
        ("machine_version", "another-version"),
        ("image_digest", "sha256:ffff"),
        ("image_digest", ""),
    ] {
        let mut claims = world.claims("m1");
        claims[claim] = json!(value);
        answers.push(world.attest(&world.issuer.sign("first", &claims)).await);
    }
    assert_eq!(
        (answers[0].status, answers[0].kind()),
        (StatusCode::UNAUTHORIZED, "bad-statement")
    );
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:#?}"
    );
    assert_eq!(world.state_of(run.investigation).await, "starting");
}

#[sqlx::test(migrations = "../../migrations")]
async fn one_claimed_machine_cannot_have_the_brief_of_another(pg: PgPool) {
    let world = World::new(pg).await;
    let (one, two) = (world.claimed("m1").await, world.claimed("m2").await);
    let answer = world.attest(&world.statement("m2")).await;
    let got: AttestAnswer = serde_json::from_value(answer.body).unwrap();
    assert_eq!(got.brief.investigation, two.investigation);
    assert_eq!(world.state_of(one.investigation).await, "starting");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_run_that_goes_on_gets_fresh_tokens_and_only_with_its_own_key_and_epoch(pg: PgPool) {
    let world = World::new(pg).await;
    let run = world.claimed("m1").await;
    world.attest(&world.statement("m1")).await;

    let fresh = world.refresh(&world.statement("m1"), THUMBPRINT, 1).await;
    assert_eq!(fresh.status, StatusCode::OK, "{fresh:?}");
    let published = world.jwks().await;
    for issued in fresh.body["tokens"].as_array().unwrap() {
        let claims: RunClaims = world::verified(issued["token"].as_str().unwrap(), &published);
        assert_eq!(
            (claims.investigation, claims.epoch),
            (run.investigation, Epoch(1))
        );
    }

    let other_key = world
        .refresh(&world.statement("m1"), OTHER_THUMBPRINT, 1)
        .await;
    assert_eq!(
        (other_key.status, other_key.kind()),
        (StatusCode::GONE, "superseded")
    );
    for epoch in [0, 2] {
        let zombie = world
            .refresh(&world.statement("m1"), THUMBPRINT, epoch)
            .await;
        assert_eq!(
            (zombie.status, zombie.kind()),
            (StatusCode::GONE, "superseded"),
            "{epoch}"
        );
    }

    world.cancel(run.investigation).await;
    let over = world.refresh(&world.statement("m1"), THUMBPRINT, 1).await;
    assert_eq!((over.status, over.kind()), (StatusCode::GONE, "superseded"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn requests_that_are_none_are_refused_in_the_same_form(pg: PgPool) {
    let world = World::new(pg).await;
    world.claimed("m1").await;
    let statement = world.statement("m1");
    for (body, status) in [
        ("{}".to_owned(), 400),
        ("not json".to_owned(), 400),
        (
            json!({"statement": statement, "key_thumbprint": "short"}).to_string(),
            400,
        ),
        (
            json!({"statement": "x".repeat(40_000), "key_thumbprint": THUMBPRINT}).to_string(),
            413,
        ),
    ] {
        let answer = world.post("/v1/attest", body).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert_eq!(answer.content_type, "application/problem+json");
    }
    assert_eq!(
        world.attest(&statement).await.status,
        StatusCode::OK,
        "nothing was used up"
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn without_a_store_a_sandbox_is_asked_to_try_again(pg: PgPool) {
    let world = World::new(pg).await;
    world.claimed("m1").await;
    world.acting.close().await;
    let answer = world.attest(&world.statement("m1")).await;
    assert_eq!(
        (answer.status, answer.kind()),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
}
