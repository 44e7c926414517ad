//! The HTTP door of every server: names, pages in browsers, sizes and depths, and the services' own door.

use std::time::Duration;

use anyhow::Result;
use nightshift_mcp_kit::testing::Holder;
use serde_json::json;

use crate::{
    case::{Case, Outcome, case},
    stack::{SERVICE_SECRET, Stack, call, list, raw, send},
};

pub(crate) const CASES: &[Case] = &[
    case!(
        35,
        "rebound-host",
        [HostCheck],
        "a browser's page under a name of its own",
        rebound_host
    ),
    case!(
        35,
        "page-origin",
        [OriginCheck],
        "a request that a page sent",
        page_origin
    ),
    case!(39, "oversize", [BodySize], "a body of a mebibyte", oversize),
    case!(
        39,
        "deep-json",
        [JsonDepth],
        "JSON that is a hundred deep",
        deep_json
    ),
    case!(
        49,
        "services-door",
        [ServiceCredential],
        "a sandbox at the door of services",
        services_door
    ),
];

async fn with_header(name: &'static str, value: &str) -> Result<Outcome> {
    let stack = Stack::start().await?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    stack.telemetry.post(&token, &list()).await?.honest()?;
    let proof = Holder::default().prove("POST", &stack.telemetry.url("/mcp"), &token);
    let proof = proof.to_str()?.to_owned();
    let body = list().to_string();
    let host = if name == "host" {
        value
    } else {
        &stack.telemetry.host
    };
    let extra = if name == "host" {
        String::new()
    } else {
        format!("{name}: {value}\r\n")
    };
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: {host}\r\n{extra}content-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\n\
         authorization: DPoP {token}\r\ndpop: {proof}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw(
        stack.telemetry.at,
        request.as_bytes(),
        Duration::from_secs(5),
    )
    .await?;
    let first = answer.lines().next().unwrap_or_default().to_owned();
    Ok(Outcome::of(first.contains(" 200 "), first))
}

async fn rebound_host() -> Result<Outcome> {
    with_header("host", "rebound.evil.test").await
}

async fn page_origin() -> Result<Outcome> {
    with_header("origin", "https://evil.test").await
}

async fn oversize() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    stack.telemetry.post(&token, &list()).await?.honest()?;
    let large = call("query_logs", &json!({ "contains": "x".repeat(1 << 20) }));
    let request = stack.telemetry.proved("POST", "/mcp", &token).json(&large);
    match send(request).await {
        Ok(answer) => Ok(Outcome::of(answer.status.is_success(), answer.brief())),
        Err(error) => Ok(Outcome::Stopped(format!(
            "the connection was closed: {error}"
        ))),
    }
}

async fn deep_json() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    stack.telemetry.post(&token, &list()).await?.honest()?;
    let mut deep = json!("x");
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let answer = stack
        .telemetry
        .post(&token, &call("list_services", &json!({ "x": deep })))
        .await?;
    Ok(Outcome::of(answer.status.is_success(), answer.brief()))
}

async fn services_door() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let run = &stack.theirs.status;
    let url = format!(
        "http://{}/internal/v1/runs/{}?epoch={}",
        stack.internal, run.investigation, run.epoch
    );
    let http = reqwest::Client::builder().no_proxy().build()?;
    let honest = http.get(&url).bearer_auth(SERVICE_SECRET);
    send(honest).await?.honest()?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    let answer = send(http.get(&url).bearer_auth(token)).await?;
    Ok(Outcome::of(answer.status.is_success(), answer.brief()))
}
