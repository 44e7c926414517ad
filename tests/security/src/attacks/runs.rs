//! Runs that are over, starts that were overtaken, and whatever stands behind the gate.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use axum::{Router, routing::get};
use http::HeaderMap;
use nightshift_domain::scope::Audience;
use nightshift_mcp_kit::{
    CachedRuns, Gate, Keyring, Runs, SystemClock, TokenRules, TokenVerifier, protect,
    testing::{FakeCasebook, ISSUER},
};

use crate::{
    case::{Case, Outcome, case},
    stack::{Server, Stack, list, send},
};

pub(crate) const CASES: &[Case] = &[
    case!(
        19,
        "after-the-end",
        [RunLive],
        "a good token after its run was cancelled",
        after_the_end
    ),
    case!(
        19,
        "after-two-seconds",
        [RunFreshness],
        "the same while servers remember the run",
        after_two_seconds
    ),
    case!(
        19,
        "overtaken-start",
        [RunAgrees],
        "a lost sandbox whose place was taken",
        overtaken_start
    ),
    case!(
        23,
        "token-passed-on",
        [TokenStripped],
        "a handler that passes on what it was sent",
        token_passed_on
    ),
];

async fn after_the_end() -> Result<Outcome> {
    let stack = Stack::start().await?;
    stack.seeds.cancel(&stack.ours).await?;
    let token = stack.token(&stack.telemetry, &stack.theirs);
    stack.telemetry.post(&token, &list()).await?.honest()?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    let answer = stack.telemetry.post(&token, &list()).await?;
    Ok(Outcome::of(answer.worked(), answer.brief()))
}

async fn after_two_seconds() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let ask = async || {
        let token = stack.token(&stack.telemetry, &stack.ours);
        stack.telemetry.post(&token, &list()).await
    };
    ask().await?.honest()?;
    stack.seeds.cancel(&stack.ours).await?;
    tokio::time::sleep(Duration::from_millis(2_050)).await;
    let answer = ask().await?;
    Ok(Outcome::of(answer.worked(), answer.brief()))
}

async fn overtaken_start() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let moved = stack.seeds.move_elsewhere(&stack.ours).await?;
    ensure!(
        moved.status.epoch == stack.ours.status.epoch,
        "both starts are the first of their sandbox"
    );
    let token = stack.token(&stack.telemetry, &moved);
    stack.telemetry.post(&token, &list()).await?.honest()?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    let answer = stack.telemetry.post(&token, &list()).await?;
    Ok(Outcome::of(answer.worked(), answer.brief()))
}

/// The real gate in front of a handler that sends on every header it gets.
async fn token_passed_on() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let casebook = FakeCasebook::default();
    casebook.make_live(&stack.ours.status);
    let runs: Arc<dyn Runs> = Arc::new(CachedRuns::new(casebook));
    let server = Server::of(Audience::Telemetry)?;
    let rules = TokenRules {
        issuer: ISSUER.to_owned(),
        audience: Audience::Telemetry,
        origin: server.url("/").parse()?,
    };
    let keys = Keyring::new(stack.issuer.clone());
    let verifier = TokenVerifier::new(rules, keys, Arc::new(SystemClock));
    let upstream = stack.upstream.clone();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let pass_on = get(async move |headers: HeaderMap| {
        let _ = http.get(&upstream.url).headers(headers).send().await;
        "done"
    });
    let gate = Arc::new(Gate::new(verifier, runs));
    let routes = protect(Router::new().route("/pass-on", pass_on), gate);
    let listener = tokio::net::TcpListener::bind(server.at).await?;
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let token = stack.token(&stack.telemetry, &stack.ours);
    send(server.proved("GET", "/pass-on", &token))
        .await?
        .honest()?;
    let seen = stack.upstream.seen();
    ensure!(seen.len() == 1, "the handler passed nothing on");
    let leaked = format!("{:?}", seen[0].headers).contains(&token);
    let names: Vec<&str> = seen[0]
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    Ok(Outcome::of(leaked, format!("upstream got {names:?}")))
}
