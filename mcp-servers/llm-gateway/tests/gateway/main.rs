//! The gateway as agents see it: behind its real gate, with a provider of our own where one is asked.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what broke by ending"
)]

mod bounds;
mod upstream;
mod world;

use http::StatusCode;
use nightshift_domain::Scope;
use serde_json::{Value, json};

use crate::{
    upstream::{Reply, Upstream},
    world::{World, ask},
};

#[tokio::test]
async fn a_question_is_answered_and_recorded_as_of_its_arrival() {
    let world = World::with_analyst();
    let answer = world.post(&ask(), &world.token()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.body["type"], json!("message"));
    assert_eq!(answer.body["role"], json!("assistant"));
    let used = world.recorded(1).await;
    assert_eq!(used[0].provider, "analyst");
    assert_eq!(used[0].epoch, world.run.epoch);
    assert!(used[0].input_tokens > 0 && used[0].output_tokens > 0);
}

#[tokio::test]
async fn only_one_path_exists_and_only_for_live_runs_with_the_scope() {
    let world = World::with_analyst();
    let good = world.token();
    for (method, path) in [
        ("GET", "/v1/messages"),
        ("HEAD", "/"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/files"),
        ("POST", "/v1/messages/batches"),
        ("GET", "/v1/models"),
    ] {
        let answer = world
            .send(method, path, &ask(), &[("authorization", &good)])
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
    }
    let beta = world
        .send(
            "POST",
            "/v1/messages?beta=true",
            &ask(),
            &[("authorization", &good)],
        )
        .await;
    assert_eq!(beta.status, StatusCode::OK);

    let none = world.send("POST", "/v1/messages", &ask(), &[]).await;
    assert_eq!(none.status, StatusCode::UNAUTHORIZED);
    assert_eq!(none.body["error"]["type"], json!("authentication_error"));
    assert_eq!(
        none.headers["www-authenticate"],
        concat!(
            r#"DPoP algs="ES256", resource_metadata="#,
            r#""http://llm.nightshift.internal/.well-known/oauth-protected-resource""#
        )
    );
    let scopeless = world.token_with(&[Scope::LogsRead]);
    let denied = world.post(&ask(), &scopeless).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);

    world.casebook.end(world.run.investigation);
    let over = world.post(&ask(), &good).await;
    assert_eq!(over.status, StatusCode::UNAUTHORIZED);
    assert_eq!(over.body["type"], json!("error"));
}

#[tokio::test]
async fn the_token_may_come_in_either_header_but_not_two_of_them() {
    let world = World::with_analyst();
    let (good, other) = (
        world.token(),
        world.token_with(&[Scope::ModelUse, Scope::CaseRead]),
    );
    let key = good.trim_start_matches("DPoP ").to_owned();
    for (headers, expected) in [
        (vec![("x-api-key", key.as_str())], StatusCode::OK),
        (
            vec![
                ("x-api-key", key.as_str()),
                ("authorization", good.as_str()),
            ],
            StatusCode::OK,
        ),
        (
            vec![
                ("x-api-key", key.as_str()),
                ("authorization", other.as_str()),
            ],
            StatusCode::UNAUTHORIZED,
        ),
    ] {
        let answer = world.send("POST", "/v1/messages", &ask(), &headers).await;
        assert_eq!(answer.status, expected, "{}", answer.text);
    }
}

#[tokio::test]
async fn what_would_leave_the_sandbox_is_refused_in_the_providers_shape() {
    let world = World::with_analyst();
    for (field, value) in [
        (
            "mcp_servers",
            json!([{ "type": "url", "url": "https://example.com" }]),
        ),
        (
            "tools",
            json!([{ "type": "web_search_20250305", "name": "web_search" }]),
        ),
        (
            "messages",
            json!([{ "role": "user", "content": [
            { "type": "image", "source": { "type": "url", "url": "https://example.com/x" } }] }]),
        ),
    ] {
        let mut body = ask();
        body[field] = value;
        let answer = world.post(&body, &world.token()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{field}");
        assert_eq!(answer.body["type"], json!("error"));
        assert_eq!(answer.body["error"]["type"], json!("invalid_request_error"));
    }
    let mut unlisted = ask();
    unlisted["model"] = json!("some-other-model");
    assert_eq!(
        world.post(&unlisted, &world.token()).await.status,
        StatusCode::NOT_FOUND
    );

    let mut huge = ask();
    huge["system"] = json!("x".repeat(9 * 1024 * 1024));
    let answer = world.post(&huge, &world.token()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.body["error"]["type"], json!("request_too_large"));
}

#[tokio::test]
async fn the_analyst_streams_like_the_provider() {
    let world = World::with_analyst();
    let mut body = ask();
    body["stream"] = json!(true);
    body["tools"] =
        json!([{ "name": "casebook_read_alert", "input_schema": { "type": "object" } }]);
    let streamed = world.post(&body, &world.token()).await;
    body["stream"] = json!(false);
    let whole = world.post(&body, &world.token()).await.body;

    assert_eq!(streamed.headers["content-type"], "text/event-stream");
    let events = events(&streamed.text);
    let kinds: Vec<&str> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(kinds.first(), Some(&"message_start"));
    assert_eq!(kinds.last(), Some(&"message_stop"));
    assert_eq!(content(&events), whole["content"]);
    let end = events
        .iter()
        .find(|event| event["type"] == json!("message_delta"))
        .unwrap();
    assert_eq!(end["delta"]["stop_reason"], json!("tool_use"));
}

/// The data of each event; its name must repeat the type.
fn events(text: &str) -> Vec<Value> {
    text.split("\n\n")
        .filter(|event| !event.is_empty())
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
            data
        })
        .collect()
}

/// The content put together from its events.
fn content(events: &[Value]) -> Value {
    let mut blocks = Vec::new();
    let mut input = String::new();
    for event in events {
        match event["type"].as_str().unwrap() {
            "content_block_start" => blocks.push(event["content_block"].clone()),
            "content_block_delta" => {
                let delta = &event["delta"];
                let block = blocks.last_mut().unwrap();
                if let Some(text) = delta["text"].as_str() {
                    block["text"] = json!(format!("{}{text}", block["text"].as_str().unwrap()));
                }
                input.push_str(delta["partial_json"].as_str().unwrap_or_default());
            }
            "content_block_stop" if !input.is_empty() => {
                blocks.last_mut().unwrap()["input"] = serde_json::from_str(&input).unwrap();
                input.clear();
            }
            _ => {}
        }
    }
    Value::Array(blocks)
}

#[tokio::test]
async fn a_run_that_used_its_tokens_is_told_to_stop_asking() {
    let world = World::with_tokens(2_000);
    let first = world.post(&ask(), &world.token()).await;
    assert_eq!(first.status, StatusCode::OK);
    let mut large = ask();
    large["system"] = json!("x".repeat(8_000));
    let over = world.post(&large, &world.token()).await;
    assert_eq!(over.status, StatusCode::BAD_REQUEST);
    assert_eq!(over.body["error"]["type"], json!("billing_error"));
    assert_eq!(over.headers["x-should-retry"], "false");
}

#[tokio::test]
async fn the_provider_gets_our_key_and_never_the_runs_token() {
    let upstream = Upstream::start(vec![Reply::message("hello", 12, 3)]).await;
    let world = World::with_anthropic(&upstream.base);
    let mut body = ask();
    body["model"] = json!("fast");
    body["metadata"] = json!({ "user_id": "device-1" });
    let token = world.token();
    let answer = world
        .send(
            "POST",
            "/v1/messages",
            &body,
            &[
                ("authorization", &token),
                (
                    "anthropic-beta",
                    "interleaved-thinking-2025-05-14,code-execution-2025-08-25",
                ),
            ],
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.body["content"][0]["text"], json!("hello"));

    let asked = upstream.requests();
    let (headers, sent) = &asked[0];
    assert_eq!(headers["x-api-key"], "sk-provider");
    assert!(headers.get("authorization").is_none());
    assert_eq!(headers["anthropic-beta"], "interleaved-thinking-2025-05-14");
    assert_eq!(sent["model"], json!("claude-b"));
    assert_ne!(sent["metadata"]["user_id"], json!("device-1"));
    assert!(!sent.to_string().contains(token.trim_start_matches("DPoP ")));

    let used = world.recorded(2).await;
    let tokens: u64 = used
        .iter()
        .map(|used| used.input_tokens + used.output_tokens)
        .sum();
    assert_eq!(tokens, 15);
    assert!(used.iter().all(|used| used.provider == "anthropic"));
}

#[tokio::test]
async fn a_stream_is_relayed_byte_for_byte_and_its_usage_recorded() {
    let text = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-b-1\",\"usage\":{\"input_tokens\":9}}}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":4}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let upstream = Upstream::start(vec![Reply::stream(text)]).await;
    let world = World::with_anthropic(&upstream.base);
    let mut body = ask();
    body["stream"] = json!(true);
    let answer = world.post(&body, &world.token()).await;
    assert_eq!(answer.text, text);
    let used = world.recorded(2).await;
    assert!(used.iter().any(|used| used.input_tokens == 9
        && used.output_tokens == 4
        && used.model == "claude-b-1"));
}

#[tokio::test]
async fn a_refusal_of_the_provider_is_passed_on_but_not_one_of_our_key() {
    let upstream = Upstream::start(vec![Reply::status(400), Reply::status(401)]).await;
    let world = World::with_anthropic(&upstream.base);
    let refused = world.post(&ask(), &world.token()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.body["error"]["message"], json!("upstream says 400"));
    let ours = world.post(&ask(), &world.token()).await;
    assert_eq!(ours.status, StatusCode::BAD_GATEWAY, "{}", ours.text);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_down_gives_new_runs_to_the_analyst_and_they_stay_there() {
    let nobody = "http://127.0.0.1:1";
    let world = World::with_anthropic(nobody);
    for _ in 0..5 {
        let answer = world.post(&ask(), &world.token()).await;
        assert_eq!(answer.status.as_u16(), 529, "{}", answer.text);
        assert_eq!(answer.body["error"]["type"], json!("overloaded_error"));
    }
    let other = world.another_run();
    let answer = world.post(&ask(), &world.token_of(&other)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.body["model"], json!("analyst"));

    // Later the provider may be back; this conversation stays where it began.
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    let again = world.post(&ask(), &world.token_of(&other)).await;
    assert_eq!(again.body["model"], json!("analyst"));
}
