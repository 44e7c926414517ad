//! What callers see of tools, and what is recorded of their calls.

use crate::sample::{self, Sample};
use axum::body::Body;
use http::{Method, Request, StatusCode, header::HOST};
use nightshift_domain::{EvidenceKind, Scope, scope::Audience};
use nightshift_mcp_kit::{ScopedRouter, ScopesIncomplete, fit};
use serde_json::{Value, json};

const ALL: &[Scope] = Audience::Telemetry.scopes();

#[tokio::test]
async fn every_tool_refuses_a_stranger() {
    let (server, casebook) = sample::server();
    server.refuses_strangers().await;
    assert!(casebook.evidence().is_empty());
}

#[tokio::test]
async fn a_caller_sees_the_tools_of_its_scopes_and_no_others() {
    let (server, _) = sample::server();
    assert_eq!(server.list_as(&[Scope::LogsRead]).await, ["echo", "note"]);
    assert_eq!(server.list_as(&[Scope::MetricsRead]).await, ["fill"]);
    assert_eq!(server.list_as(ALL).await, ["echo", "fill", "note"]);
    assert!(
        server
            .list_as(&[Scope::CaseWrite, Scope::ModelUse])
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn the_list_may_not_be_shared_between_callers() {
    let (server, _) = sample::server();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let message =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } });
    let mut request = server.request(Some(&server.token(ALL)), &message);
    request
        .headers_mut()
        .insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    request
        .headers_mut()
        .insert("mcp-method", "tools/list".parse().unwrap());

    let answer = server.send(request).await;

    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(
        answer.body["result"]["cacheScope"], "private",
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn both_eras_of_the_protocol_are_served() {
    let (server, casebook) = sample::server();
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" } } });
    let answer = server.post(Some(&server.token(ALL)), &hello).await;
    assert_eq!(
        answer.body["result"]["protocolVersion"], "2025-11-25",
        "{}",
        answer.text
    );
    assert!(!answer.headers.contains_key("mcp-session-id"));
    let old = server.call("echo", json!({ "text": "old" })).await;
    assert_eq!(old.structured()["answer"]["texts"], json!(["old"]));

    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let message = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "echo", "arguments": { "text": "new" }, "_meta": meta } });
    let mut request = server.request(Some(&server.token(ALL)), &message);
    request
        .headers_mut()
        .insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    request
        .headers_mut()
        .insert("mcp-method", "tools/call".parse().unwrap());
    request
        .headers_mut()
        .insert("mcp-name", "echo".parse().unwrap());
    let new = server.send(request).await;
    assert_eq!(new.structured()["answer"]["texts"], json!(["new"]));
    assert_eq!(casebook.evidence().len(), 2);
}

#[tokio::test]
async fn an_observation_is_recorded_as_the_agent_sees_it() {
    let (server, casebook) = sample::server();
    let answer = server
        .call(
            "echo",
            json!({ "text": "a\u{1b}[31mb\u{202e}c", "junk": 1 }),
        )
        .await;

    let seen = answer.structured();
    let recorded = casebook.evidence();
    assert_eq!(recorded.len(), 1);
    let (id, evidence) = &recorded[0];
    assert_eq!(seen["evidence"], json!(id));
    assert_eq!(seen["answer"], evidence.content);
    assert_eq!(evidence.content["texts"], json!(["abc"]));
    assert_eq!(evidence.tool, "telemetry.echo");
    assert_eq!(evidence.kind, EvidenceKind::Logs);
    assert_eq!(evidence.arguments, json!({ "text": "abc" }));
    assert_eq!(evidence.epoch, server.run.epoch);
    assert!(evidence.took_ms >= 20, "{}", evidence.took_ms);
    assert!(casebook.calls().is_empty());
    let copy: Value = serde_json::from_str(
        answer.body["result"]["content"][0]["text"]
            .as_str()
            .unwrap(),
    )
    .unwrap();
    assert_eq!(&copy, seen);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_answered() {
    let (server, casebook) = sample::server();
    // The run ends while the tool works: the gate let it in, the record does not.
    let answer = server.call("echo", json!({ "text": "END" })).await;
    assert_eq!(answer.failure(), "this run is over");
    assert!(!answer.text.contains("END"));
    assert!(casebook.evidence().is_empty());

    let (server, casebook) = sample::server();
    let answer = server.call("echo", json!({ "text": "DOWN" })).await;
    assert!(answer.failure().contains("withheld"), "{}", answer.text);
    assert!(!answer.text.contains("DOWN"));
    assert!(casebook.evidence().is_empty());
}

#[tokio::test]
async fn a_long_answer_is_cut_and_says_so() {
    let (server, casebook) = sample::server();
    let answer = server
        .call("fill", json!({ "lines": 10_000, "cut": true }))
        .await;
    assert_eq!(answer.structured()["truncated"], true);
    let (_, evidence) = casebook.evidence().remove(0);
    assert!(evidence.truncated);
    assert!(fit::json_bytes(&evidence.content).unwrap() <= fit::ANSWER_BYTES);

    let short = server
        .call("fill", json!({ "lines": 10, "cut": true }))
        .await;
    assert_eq!(short.structured()["truncated"], false);
}

#[tokio::test]
async fn an_answer_that_was_not_cut_is_refused_rather_than_sent() {
    let (server, casebook) = sample::server();
    let answer = server
        .call("fill", json!({ "lines": 10_000, "cut": false }))
        .await;
    assert!(
        answer.failure().contains("narrow the question"),
        "{}",
        answer.failure()
    );
    assert!(casebook.evidence().is_empty());
}

#[tokio::test]
async fn refused_failed_and_plain_calls_leave_a_row() {
    let (server, casebook) = sample::server();
    server
        .call_as(&[Scope::MetricsRead], "echo", json!({ "text": "x" }))
        .await;
    server.call("no_such_tool", json!({})).await;
    server.call("echo", json!({ "text": "" })).await;
    server.call("echo", json!({ "text": 5 })).await;
    server.call("note", json!({})).await;

    let rows: Vec<_> = casebook
        .calls()
        .into_iter()
        .map(|call| (call.tool, call.outcome, call.detail.unwrap_or_default()))
        .collect();
    assert_eq!(rows.len(), 5, "{rows:?}");
    assert_eq!(
        (rows[0].0.as_str(), rows[0].1.as_str()),
        ("telemetry.echo", "refused")
    );
    assert_eq!(
        (rows[1].0.as_str(), rows[1].1.as_str()),
        ("telemetry.no_such_tool", "refused")
    );
    assert_eq!(rows[2].1, "failed");
    assert_eq!(rows[2].2, "nothing to echo");
    assert_eq!(rows[3].1, "failed");
    assert!(rows[3].2.contains("expected a string"), "{}", rows[3].2);
    assert_eq!(
        (rows[4].0.as_str(), rows[4].1.as_str()),
        ("telemetry.note", "answered")
    );
}

#[tokio::test]
async fn prompts_and_resources_do_not_exist() {
    let (server, _) = sample::server();
    for method in ["prompts/list", "resources/list", "resources/templates/list"] {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method });
        let answer = server.post(Some(&server.token(ALL)), &message).await;
        assert_eq!(
            answer.body["error"]["code"],
            json!(-32601),
            "{method}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn strange_hosts_browsers_and_large_bodies_are_turned_away() {
    let (server, _) = sample::server();
    let token = server.token(ALL);
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });

    let mut rebound = server.request(Some(&token), &list);
    rebound
        .headers_mut()
        .insert(HOST, "evil.example".parse().unwrap());
    assert_eq!(server.send(rebound).await.status, StatusCode::FORBIDDEN);

    let mut browser = server.request(Some(&token), &list);
    browser.headers_mut().insert(
        "origin",
        "http://server.nightshift.internal".parse().unwrap(),
    );
    assert_eq!(server.send(browser).await.status, StatusCode::FORBIDDEN);

    let mut large = server.request(Some(&token), &list);
    *large.body_mut() = Body::from(vec![b' '; 300 * 1024]);
    assert_eq!(
        server.send(large).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn health_needs_no_token_and_everything_else_does() {
    let (server, _) = sample::server();
    let request = |method: Method, path: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .body(Body::empty())
            .unwrap()
    };
    let health = server.send(request(Method::GET, "/healthz")).await;
    assert_eq!(
        (health.status, health.text.as_str()),
        (StatusCode::OK, "ok")
    );
    for method in [Method::GET, Method::DELETE, Method::OPTIONS] {
        let answer = server.send(request(method.clone(), "/mcp")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method}");
    }
    let nowhere = server.send(request(Method::GET, "/nowhere")).await;
    assert_eq!(nowhere.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn a_server_whose_scopes_do_not_match_its_tools_is_not_made() {
    let router = Sample::tool_router;
    let full = [
        ("echo", Scope::LogsRead),
        ("fill", Scope::MetricsRead),
        ("note", Scope::LogsRead),
    ];
    assert!(ScopedRouter::new(router(), &full).is_ok());
    assert_eq!(
        ScopedRouter::new(router(), &full[..2]).err(),
        Some(ScopesIncomplete::NoScope("note".to_owned()))
    );
    let more = [full[0], full[1], full[2], ("ekko", Scope::LogsRead)];
    assert_eq!(
        ScopedRouter::new(router(), &more).err(),
        Some(ScopesIncomplete::NoTool("ekko"))
    );
    let twice = [full[0], full[1], full[2], ("echo", Scope::MetricsRead)];
    assert_eq!(
        ScopedRouter::new(router(), &twice).err(),
        Some(ScopesIncomplete::Twice("echo"))
    );
}
