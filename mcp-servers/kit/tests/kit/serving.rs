//! A server as it runs: on a real listener, with keys fetched over HTTP, until it is told to end.

use std::{sync::Arc, time::Duration};

use axum::http::header::AUTHORIZATION;
use axum::{Extension, Json, Router, routing::get};
use nightshift_domain::{Scope, scope::Audience};
use nightshift_mcp_kit::{
    CachedRuns, Environment, Grant, ServerConfig, casebook, protect,
    serve::{self, End},
    testing::{Holder, ISSUER, Issuer},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use crate::sample;

/// Serves routes on a free port; gives the base address.
async fn served(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    base
}

fn config(jwks: &str) -> ServerConfig {
    let variables = [
        ("NIGHTSHIFT_LISTEN", "127.0.0.1:0"),
        ("NIGHTSHIFT_PUBLIC_HOST", "llm.nightshift.internal"),
        ("NIGHTSHIFT_TOKEN_ISSUER", ISSUER),
        ("NIGHTSHIFT_JWKS_URL", jwks),
    ];
    let own = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut environment = Environment::of(own);
    let config = ServerConfig::read(&mut environment);
    environment.finish(config).unwrap()
}

#[tokio::test]
async fn a_plain_server_finds_the_grant_behind_the_gate() {
    let issuer = Issuer::new("key-1");
    let keys = json!({ "keys": [issuer.jwk] });
    let session = Router::new().route("/jwks.json", get(async move || Json(keys)));
    let jwks = format!("{}/jwks.json", served(session).await);
    let (other_server, runs) = sample::server();
    let run = &other_server.run;

    let gate = serve::gate(
        &config(&jwks),
        Audience::Llm,
        Arc::new(CachedRuns::new(runs.clone())),
    );
    let who = get(async |Extension(grant): Extension<Grant>| {
        format!(
            "{} {}",
            grant.investigation(),
            grant.allows(Scope::ModelUse)
        )
    });
    let routes = protect(Router::new().route("/v1/messages", who), gate.unwrap());
    let base = served(serve::with_health(routes)).await;
    let client = casebook::http_client().unwrap();
    let ask = async |token: String| {
        // The name that sandboxes use, not the address behind it, is what a proof must name.
        let proof =
            Holder::default().prove("GET", "http://llm.nightshift.internal/v1/messages", &token);
        let request = client
            .get(format!("{base}/v1/messages?beta=true"))
            .header(AUTHORIZATION, format!("DPoP {token}"))
            .header("dpop", proof);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let now = nightshift_mcp_kit::Clock::now(&nightshift_mcp_kit::SystemClock);
    let token = |audience, scope| issuer.sign(&Issuer::claims(run, audience, &[scope], now));

    let (status, text) = ask(token(Audience::Llm, Scope::ModelUse)).await;
    assert_eq!((status, text), (200, format!("{} true", run.investigation)));
    let (status, text) = ask(token(Audience::Llm, Scope::LogsRead)).await;
    assert_eq!(status, 200);
    assert!(text.ends_with("false"), "{text}");
    assert_eq!(
        ask(token(Audience::Telemetry, Scope::LogsRead)).await.0,
        401
    );
    assert_eq!(runs.times_asked(), 1, "the second answer was remembered");
    let health = client.get(format!("{base}/healthz")).send().await.unwrap();
    assert_eq!(health.text().await.unwrap(), "ok");
}

#[tokio::test]
async fn a_server_says_who_issues_its_tokens_and_that_they_need_a_proof() {
    let (_, runs) = sample::server();
    let gate = serve::gate(&config("http://127.0.0.1:9/jwks"), Audience::Llm, runs).unwrap();
    let routes = protect(Router::new().route("/", get(async || "in")), gate);
    let base = served(serve::with_health(routes)).await;
    let client = casebook::http_client().unwrap();

    let refused = client.get(&base).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 401);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
    let (_, pointer) = challenge.split_once("resource_metadata=").unwrap();
    let pointer = pointer.trim_matches('"');
    let told = pointer.replacen("http://llm.nightshift.internal", &base, 1);
    assert_ne!(told, pointer);
    let answer = client.get(told).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let metadata: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(
        metadata,
        json!({
            "resource": "http://llm.nightshift.internal",
            "resource_name": "Nightshift llm",
            "authorization_servers": [ISSUER],
            "scopes_supported": ["model:use"],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ["ES256"],
            "dpop_bound_access_tokens_required": true,
        })
    );
}

#[tokio::test]
async fn while_the_keys_cannot_be_fetched_the_answer_is_to_wait() {
    let session = Router::new();
    let jwks = format!("{}/jwks.json", served(session).await);
    let (other_server, runs) = sample::server();
    let gate = serve::gate(&config(&jwks), Audience::Telemetry, runs).unwrap();
    let routes = protect(Router::new().route("/", get(async || "in")), gate);
    let base = served(routes).await;
    let client = casebook::http_client().unwrap();
    let token = other_server.token(&[Scope::LogsRead]);
    let request = client
        .get(base)
        .header(AUTHORIZATION, format!("DPoP {token}"));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
}

#[tokio::test]
async fn a_server_ends_when_it_is_told_and_finishes_what_it_began() {
    let slow = get(async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        "done"
    });
    let probe = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let (tell, told) = watch::channel(false);
    let server = tokio::spawn(serve::until_ended(
        address,
        Router::new().route("/", slow),
        End::when(told),
    ));
    let client = casebook::http_client().unwrap();
    let url = format!("http://{address}/");
    let mut asked = client.get(&url).send().await;
    while asked.is_err() {
        asked = client.get(&url).send().await;
    }

    let begun = tokio::spawn(client.get(&url).send());
    tokio::time::sleep(Duration::from_millis(50)).await;
    tell.send_replace(true);

    assert_eq!(begun.await.unwrap().unwrap().text().await.unwrap(), "done");
    server.await.unwrap().unwrap();
    assert!(client.get(&url).send().await.is_err());
}
