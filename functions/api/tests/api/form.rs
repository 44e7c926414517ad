//! What holds for every route: tokens, problems, the document.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use nightshift_domain::InvestigationId;
use sqlx::PgPool;

use crate::world::{TOKEN, World};

#[sqlx::test(migrations = "../../migrations")]
async fn every_error_is_a_problem_with_its_own_type(pg: PgPool) {
    let world = World::new(pg).await;
    let id = world.alert(0, "bread").await;
    let nobody = InvestigationId::generate();
    for (method, path, status, kind) in [
        ("GET", "/v1/nothing".to_owned(), 404, "not-found"),
        ("GET", "/".to_owned(), 404, "not-found"),
        ("DELETE", "/v1/alerts".to_owned(), 405, "method-not-allowed"),
        (
            "GET",
            format!("/v1/investigations/{id}/messages"),
            405,
            "method-not-allowed",
        ),
        ("GET", "/v1/investigations/7".to_owned(), 400, "bad-id"),
        (
            "GET",
            "/v1/investigations/sbx_0192f0c1000070008000000000000001".to_owned(),
            400,
            "bad-id",
        ),
        (
            "GET",
            format!("/v1/investigations/{nobody}"),
            404,
            "not-found",
        ),
        (
            "GET",
            format!("/v1/investigations/{nobody}/events?wait_ms=20000"),
            404,
            "not-found",
        ),
        (
            "GET",
            "/v1/investigations?cursor=abc".to_owned(),
            400,
            "bad-cursor",
        ),
        (
            "GET",
            "/v1/investigations?limit=0".to_owned(),
            400,
            "bad-limit",
        ),
        (
            "GET",
            "/v1/investigations?limit=-1".to_owned(),
            400,
            "bad-query",
        ),
        (
            "GET",
            "/v1/investigations?tenant=bakery".to_owned(),
            400,
            "bad-query",
        ),
        (
            "GET",
            "/v1/investigations?state=happy".to_owned(),
            400,
            "bad-state",
        ),
        (
            "GET",
            "/v1/sandboxes?state=happy".to_owned(),
            400,
            "bad-state",
        ),
        (
            "GET",
            "/v1/dead-letters?cursor=aW52".to_owned(),
            400,
            "bad-cursor",
        ),
        (
            "POST",
            format!("/v1/investigations/{id}/messages"),
            400,
            "bad-request",
        ),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = world
            .request(method, &path, Some(TOKEN), Body::from("{"))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.kind()),
            (status, kind),
            "{path}: {}",
            answer.body
        );
        assert_eq!(
            answer.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{path}"
        );
        assert_eq!(answer.body["status"], status, "{path}");
        for field in ["title", "detail"] {
            assert!(
                !answer.body[field].as_str().unwrap().is_empty(),
                "{path} has no {field}"
            );
        }
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn nothing_of_tenants_is_shown_without_a_token(pg: PgPool) {
    let world = World::new(pg).await;
    let id = world.alert(0, "bread").await.to_string();
    let document = world
        .request(Method::GET, "/v1/openapi.json", None, Body::empty())
        .await;
    let mut guarded = 0;
    for (path, operations) in document.body["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let path = path.replace("{id}", &id);
            for token in [None, Some("an-operator-token-for-test"), Some("")] {
                let answer = world
                    .request(method.clone(), &path, token, Body::empty())
                    .await;
                if ["/healthz", "/v1/openapi.json"].contains(&path.as_str()) {
                    assert_eq!(answer.status, StatusCode::OK, "{path}");
                    continue;
                }
                assert_eq!(
                    (answer.status, answer.kind()),
                    (StatusCode::UNAUTHORIZED, "unauthorized"),
                    "{path}"
                );
                assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
                guarded += 1;
            }
        }
    }
    assert_eq!(guarded, 33, "eleven routes with three bad tokens each");
    let in_query = format!("/v1/alerts?access_token={TOKEN}");
    let answer = world
        .request(Method::GET, &in_query, None, Body::empty())
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[sqlx::test(migrations = "../../migrations")]
async fn every_route_is_in_the_document_and_every_reference_leads_somewhere(pg: PgPool) {
    let world = World::new(pg).await;
    let answer = world
        .request(Method::GET, "/v1/openapi.json", None, Body::empty())
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    let document = answer.body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let documented: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();

    // What the router itself knows: it prints its paths.
    let printed = format!("{:?}", world.router);
    let routed: BTreeSet<String> = printed
        .split('"')
        .filter(|text| text.starts_with('/') && text.len() > 1 && !text.contains("{*"))
        .map(str::to_owned)
        .collect();
    assert!(
        routed.contains("/v1/investigations/{id}/events"),
        "{printed}"
    );
    assert_eq!(routed, documented);

    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let reference = reference.split('"').next().unwrap();
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(
                operation["summary"].is_string(),
                "{method} {path} is not described"
            );
        }
    }
    assert!(
        document
            .pointer("/components/schemas/Report/properties/root_cause")
            .is_some()
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn without_a_store_the_answer_is_to_try_again_and_health_still_answers(pg: PgPool) {
    let world = World::new(pg).await;
    world.acting.close().await;
    let answer = world.read("/v1/alerts").await;
    assert_eq!(
        (answer.status, answer.kind()),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(world.read("/healthz").await.status, StatusCode::OK);
}
