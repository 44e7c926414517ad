//! What the gateway holds to whatever agents and providers do, each control by its name.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use http::StatusCode;
use nightshift_llm_gateway::gateway::budget::RunLimits;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    upstream::{Reply, Then, Upstream},
    world::{World, ask},
};

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-b-1\",\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n";

fn streamed() -> Value {
    let mut body = ask();
    body["stream"] = json!(true);
    body
}

/// An event with this many bytes of text.
fn delta(bytes: usize) -> String {
    let delta = json!({ "type": "content_block_delta", "index": 0,
        "delta": { "type": "text_delta", "text": "x".repeat(bytes) } });
    format!("event: content_block_delta\ndata: {delta}\n\n")
}

fn one_at_a_time(tokens: u64) -> RunLimits {
    RunLimits {
        tokens,
        at_once: 1,
        tenant_at_once: 9,
    }
}

/// `one-retry`.
#[tokio::test]
async fn an_overloaded_provider_is_asked_once_more_and_no_more_than_that() {
    let replies = vec![
        Reply::status(529),
        Reply::message("at last", 1, 1),
        Reply::status(500),
        Reply::status(529),
        Reply::message("too late", 1, 1),
    ];
    let upstream = Upstream::start(replies).await;
    let world = World::with_anthropic(&upstream.base);
    let answer = world.post(&ask(), &world.token()).await;
    assert_eq!(answer.body["content"][0]["text"], json!("at last"));
    assert_eq!(upstream.requests().len(), 2);
    let given_up = world.post(&ask(), &world.token()).await;
    assert_eq!(given_up.status.as_u16(), 529, "{}", given_up.text);
    assert_eq!(upstream.requests().len(), 4);
}

/// `one-retry`.
#[tokio::test]
async fn a_stream_that_breaks_off_ends_in_an_error_and_is_never_begun_again() {
    let replies = vec![
        Reply::stream(START).then(Then::Break),
        Reply::stream("event: of another answer\n\n"),
    ];
    let upstream = Upstream::start(replies).await;
    let world = World::with_anthropic(&upstream.base);
    let answer = world.post(&streamed(), &world.token()).await;
    assert!(answer.text.starts_with(START), "{}", answer.text);
    assert!(answer.text.contains("event: error"), "{}", answer.text);
    assert_eq!(upstream.requests().len(), 1);
}

/// `model-budget`.
#[tokio::test]
async fn who_hangs_up_in_the_middle_pays_for_what_went_by() {
    let told = format!("{START}{}", delta(8_000));
    let upstream = Upstream::start(vec![Reply::stream(&told).then(Then::Silence)]).await;
    let world = World::with_limits(&upstream.base, one_at_a_time(1_200));
    let request = world.request(Body::from(streamed().to_string()));
    let answer = world.routes.clone().oneshot(request).await.unwrap();
    let mut body = answer.into_body().into_data_stream();
    let mut read = 0;
    while read < told.len() {
        read += body.next().await.unwrap().unwrap().len();
    }
    let open = world.post(&ask(), &world.token()).await;
    assert_eq!(
        open.status,
        StatusCode::TOO_MANY_REQUESTS,
        "it is still open"
    );
    drop(body);

    let used = world.recorded(2).await;
    let written = used.iter().map(|used| used.output_tokens).max();
    assert_eq!(
        written,
        Some(1_000),
        "what went by, at most what was allowed"
    );
    let over = world.post(&ask(), &world.token()).await;
    assert_eq!(
        over.body["error"]["type"],
        json!("billing_error"),
        "{}",
        over.text
    );
}

/// `model-budget`.
#[tokio::test]
async fn who_hangs_up_before_an_answer_pays_for_the_most_that_it_can_have_cost() {
    let silent = Reply::message("", 1, 1).then(Then::NoAnswer);
    let upstream = Upstream::start(vec![silent, Reply::message("hello", 1, 1)]).await;
    let world = World::with_limits(&upstream.base, one_at_a_time(1_200));
    let request = world.request(Body::from(ask().to_string()));
    let asking = tokio::spawn(world.routes.clone().oneshot(request));
    upstream.asked(1).await;
    asking.abort();
    assert!(asking.await.is_err());

    let used = world.recorded(2).await;
    assert_eq!(
        used.iter().map(|used| used.output_tokens).max(),
        Some(1_000)
    );
    let over = world.post(&ask(), &world.token()).await;
    assert_eq!(
        over.body["error"]["type"],
        json!("billing_error"),
        "{}",
        over.text
    );
}

/// `model-budget`.
#[tokio::test]
async fn what_the_provider_refuses_costs_nothing() {
    let mut replies = vec![Reply::status(400), Reply::status(529), Reply::status(529)];
    replies.push(Reply::message("hello", 1, 1));
    let upstream = Upstream::start(replies).await;
    let world = World::with_limits(&upstream.base, one_at_a_time(1_200));
    for expected in [400, 529, 200] {
        let answer = world.post(&ask(), &world.token()).await;
        assert_eq!(answer.status.as_u16(), expected, "{}", answer.text);
    }
}

/// `model-run-concurrency`, `model-tenant-concurrency`.
#[tokio::test]
async fn open_requests_are_counted_for_the_run_and_for_its_tenant() {
    let silent = || Reply::message("", 1, 1).then(Then::NoAnswer);
    let upstream = Upstream::start(vec![silent(), silent()]).await;
    let limits = RunLimits {
        at_once: 2,
        tenant_at_once: 2,
        ..RunLimits::default()
    };
    let world = World::with_limits(&upstream.base, limits);
    let ask_silently = || world.request(Body::from(ask().to_string()));
    let open = [ask_silently(), ask_silently()]
        .map(|request| tokio::spawn(world.routes.clone().oneshot(request)));
    upstream.asked(2).await;

    let mut sibling = world.another_run();
    sibling.tenant = world.run.tenant;
    world.casebook.make_live(&sibling);
    for token in [world.token(), world.token_of(&sibling)] {
        let busy = world.post(&ask(), &token).await;
        assert_eq!(busy.status, StatusCode::TOO_MANY_REQUESTS, "{}", busy.text);
        assert_eq!(busy.headers["x-should-retry"], "true");
    }
    assert_eq!(upstream.requests().len(), 2);
    for asking in open {
        asking.abort();
    }
}

/// `relay-bounds`.
#[tokio::test]
async fn a_reader_who_stops_stops_the_provider_and_an_endless_answer_ends() {
    let endless = Reply::stream(&delta(64 * 1024)).then(Then::Again);
    let upstream = Upstream::start(vec![endless.clone(), endless]).await;
    let world = World::with_anthropic(&upstream.base);
    let request = world.request(Body::from(streamed().to_string()));
    let answer = world.routes.clone().oneshot(request).await.unwrap();
    let mut body = answer.into_body().into_data_stream();
    body.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // What lies in the sockets' buffers was taken from it, and nothing beyond.
    let taken = upstream.sent_bytes();
    assert!(
        taken < 12 * 1024 * 1024,
        "{taken} bytes for a reader of one piece"
    );
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(upstream.sent_bytes(), taken);
    drop(body);

    let answer = world.post(&streamed(), &world.token()).await;
    assert!(
        answer.text.len() <= 17 * 1024 * 1024,
        "{}",
        answer.text.len()
    );
    assert!(answer.text.ends_with("\n\n") && answer.text.contains("event: error"));
}

/// `audit`.
#[tokio::test]
async fn what_is_refused_or_comes_to_nothing_has_its_row() {
    let upstream = Upstream::start(vec![Reply::status(529), Reply::status(529)]).await;
    let world = World::with_anthropic(&upstream.base);
    let mut reaching = ask();
    reaching["mcp_servers"] = json!([]);
    let mut unlisted = ask();
    unlisted["model"] = json!("claude-z");
    for body in [&reaching, &unlisted, &ask()] {
        assert!(!world.post(body, &world.token()).await.status.is_success());
    }
    let rows: Vec<_> = world
        .casebook
        .calls()
        .into_iter()
        .map(|call| (call.tool, call.outcome, call.epoch))
        .collect();
    let row = |outcome: &str| {
        (
            "llm.messages".to_owned(),
            outcome.to_owned(),
            world.run.epoch,
        )
    };
    assert_eq!(rows, [row("refused"), row("refused"), row("failed")]);
}

/// `redirects-off`.
#[tokio::test]
async fn a_provider_that_points_elsewhere_is_not_followed() {
    let upstream = Upstream::start(vec![Reply::status(307)]).await;
    let world = World::with_anthropic(&upstream.base);
    let answer = world.post(&ask(), &world.token()).await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert!(!answer.headers.contains_key("location"));
    assert_eq!(upstream.requests().len(), 1);
}

/// `host-check`, `origin-check`, `json-depth`.
#[tokio::test]
async fn browsers_strange_names_and_deep_bodies_are_turned_away() {
    let world = World::with_analyst();
    for (header, value) in [
        ("host", "evil.example"),
        ("origin", "http://localhost:3000"),
    ] {
        let mut request = world.request(Body::from(ask().to_string()));
        request.headers_mut().insert(header, value.parse().unwrap());
        let answer = world.routes.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{header}");
    }
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    let request = world.request(Body::from(deep));
    let answer = world.routes.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let row = world.casebook.calls().remove(0);
    assert!(row.detail.unwrap().contains("nested"));
}
