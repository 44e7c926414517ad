//! What the gate lets in, and everything that it must not.

use std::collections::HashSet;

use axum::body::Body;
use http::{HeaderValue, Request, StatusCode, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use nightshift_domain::{Epoch, InvestigationId, SandboxId, Scope, TenantId, scope::Audience};
use nightshift_mcp_kit::{
    Clock, SystemClock,
    testing::{Answer, Issuer, TestServer, encode, unsigned},
};
use serde_json::{Value, json};

use crate::sample;

/// What whoever presents a token that is not accepted is told.
const INVALID_TOKEN: &str = concat!(
    r#"DPoP error="invalid_token", algs="ES256", resource_metadata="#,
    r#""http://server.nightshift.internal/.well-known/oauth-protected-resource""#
);
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn list() -> Value {
    serde_json::from_str(LIST).unwrap()
}

/// A good token's claims as JSON, to be spoiled.
fn claims(server: &TestServer) -> Value {
    let now = SystemClock.now();
    let scopes = [Scope::LogsRead];
    let good = Issuer::claims(&server.run, Audience::Telemetry, &scopes, now);
    serde_json::to_value(good).unwrap()
}

async fn with_token(server: &TestServer, token: &str) -> Answer {
    server.post(Some(token), &list()).await
}

#[tokio::test]
async fn a_good_token_of_a_live_run_is_let_in() {
    let (server, _) = sample::server();
    let claims = claims(&server);
    let answer = with_token(
        &server,
        &server.issuer.sign_as(&server.issuer.header(), &claims),
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.body["result"]["tools"][0]["name"], "echo");
}

#[tokio::test]
async fn a_scheme_in_lower_case_is_let_in_too() {
    let (server, _) = sample::server();
    let token = server.token(&[Scope::LogsRead]);
    let mut request = server.request(Some(&token), &list());
    let value = format!("dpop {token}");
    request
        .headers_mut()
        .insert(AUTHORIZATION, value.parse().unwrap());
    assert_eq!(server.send(request).await.status, StatusCode::OK);
}

/// Every spoiled claim, with the claims it leaves.
fn spoiled_claims(server: &TestServer) -> Vec<(&'static str, Value)> {
    let now = SystemClock.now().timestamp();
    let good = claims(server);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name).unwrap();
        claims
    };
    let times = |iat: i64, nbf: i64, exp: i64| {
        let mut claims = good.clone();
        claims["iat"] = json!(iat);
        claims["nbf"] = json!(nbf);
        claims["exp"] = json!(exp);
        claims
    };
    let us = Audience::Telemetry.as_str();
    let mut spoiled = vec![
        (
            "aud is a list of ours and another",
            with("aud", json!([us, "urn:nightshift:llm"])),
        ),
        ("aud is a list of ours alone", with("aud", json!([us]))),
        (
            "aud is another server",
            with("aud", json!("urn:nightshift:codebase")),
        ),
        (
            "aud only begins like ours",
            with("aud", json!(format!("{us}.evil"))),
        ),
        (
            "iss is another",
            with("iss", json!("https://session.example.evil")),
        ),
        (
            "iss has a slash more",
            with("iss", json!("https://session.example/")),
        ),
        (
            "iss is a list",
            with("iss", json!(["https://session.example"])),
        ),
        (
            "sub is another run",
            with("sub", json!("run:inv_0192f0c1000070008000000000000001")),
        ),
        ("sub is a number", with("sub", json!(7))),
        ("jti is empty", with("jti", json!(""))),
        ("exp is text", with("exp", json!((now + 60).to_string()))),
        ("exp is a fraction", with("exp", json!(1.5e9))),
        ("exp is past", times(now - 600, now - 600, now - 6)),
        ("exp is too far", times(now, now, now + 601)),
        ("exp is as far as numbers go", times(now, now, i64::MAX)),
        ("exp overflows against iat", times(i64::MIN, now, now + 60)),
        ("exp is before iat", times(now + 4, now, now + 3)),
        ("nbf is to come", times(now, now + 60, now + 300)),
        ("nbf is text", with("nbf", json!(now.to_string()))),
        ("iat is to come", times(now + 60, now, now + 300)),
        ("iat is null", with("iat", Value::Null)),
        (
            "epoch is older",
            with("epoch", json!(server.run.epoch.0 - 1)),
        ),
        (
            "epoch is newer",
            with("epoch", json!(server.run.epoch.0 + 1)),
        ),
        ("epoch is text", with("epoch", json!("3"))),
        (
            "tenant is another",
            with("tenant", json!(TenantId::generate())),
        ),
        (
            "sandbox is an investigation",
            with("sandbox", json!(InvestigationId::generate())),
        ),
        (
            "sandbox is another at the same epoch",
            with("sandbox", json!(SandboxId::generate())),
        ),
        ("scope is a list", with("scope", json!(["logs:read"]))),
        ("cnf names no key", with("cnf", json!({ "jkt": "" }))),
    ];
    for name in [
        "iss", "aud", "sub", "exp", "nbf", "iat", "jti", "scope", "epoch", "tenant", "cnf",
    ] {
        spoiled.push(("a claim is missing", without(name)));
    }
    spoiled
}

/// Every spoiled header or signature.
fn forged_tokens(server: &TestServer) -> Vec<(&'static str, String)> {
    let issuer = &server.issuer;
    let claims = claims(server);
    let signed = |header: Value| issuer.sign_as(&header, &claims);
    let good = issuer.sign_as(&issuer.header(), &claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let with = |name: &str, value: Value| {
        let mut header = issuer.header();
        header[name] = value;
        header
    };

    let stranger = Issuer::new(&issuer.kid);
    let mut jwk = serde_json::to_value(&stranger.jwk).unwrap();
    jwk["kid"] = json!(issuer.kid);
    let lured = |name: &str, value: Value| stranger.sign_as(&with(name, value), &claims);

    // The public key as a shared secret, in the forms in which a verifier may hold it.
    let public = serde_json::to_string(&issuer.jwk).unwrap();
    let hs256 = |typ: &str| {
        let header = json!({ "alg": "HS256", "typ": typ, "kid": issuer.kid });
        let message = unsigned(&header, &claims);
        let key = EncodingKey::from_secret(public.as_bytes());
        let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    };
    let none = unsigned(&with("alg", json!("none")), &claims);
    let mut other_claims = claims.clone();
    other_claims["scope"] = json!("logs:read metrics:read");
    let swapped = format!("{}.{signature}", unsigned(&issuer.header(), &other_claims));

    vec![
        ("alg none, no signature", format!("{none}.")),
        (
            "alg none, somebody's signature",
            format!("{none}.{signature}"),
        ),
        (
            "alg nOnE",
            format!("{}.", unsigned(&with("alg", json!("nOnE")), &claims)),
        ),
        ("no signature", format!("{message}.")),
        ("HS256 with the public key", hs256("at+jwt")),
        ("HS256 as a plain JWT", hs256("JWT")),
        ("alg claims RS256", signed(with("alg", json!("RS256")))),
        ("typ JWT", signed(with("typ", json!("JWT")))),
        (
            "no typ",
            signed(json!({ "alg": "ES256", "kid": issuer.kid })),
        ),
        ("no kid", signed(json!({ "alg": "ES256", "typ": "at+jwt" }))),
        (
            "a kid that nobody knows",
            signed(with("kid", json!("key-2"))),
        ),
        (
            "a kid that is a path",
            signed(with("kid", json!("../../dev/null"))),
        ),
        (
            "a stranger's signature under our kid",
            stranger.sign_as(&issuer.header(), &claims),
        ),
        ("a key in the header", lured("jwk", jwk)),
        (
            "an address of keys in the header",
            lured("jku", json!("https://evil.example/jwks")),
        ),
        (
            "an address of certificates in the header",
            lured("x5u", json!("https://evil.example")),
        ),
        ("a critical extension", signed(with("crit", json!(["exp"])))),
        ("claims swapped under a good signature", swapped),
        ("three bytes", "a.b".to_owned()),
        ("empty parts", "..".to_owned()),
        (
            "not JSON",
            format!("{}.{}.{signature}", encode("{"), encode("{}")),
        ),
        (
            "larger than any token",
            format!("{good}{}", "A".repeat(9_000)),
        ),
    ]
}

#[tokio::test]
async fn every_forged_or_spoiled_token_gets_the_same_answer() {
    let (server, _) = sample::server();
    let mut attacks = forged_tokens(&server);
    for (name, claims) in spoiled_claims(&server) {
        attacks.push((
            name,
            server.issuer.sign_as(&server.issuer.header(), &claims),
        ));
    }

    let mut bodies = HashSet::new();
    for (name, token) in attacks {
        let answer = with_token(&server, &token).await;
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{name}: {}",
            answer.text
        );
        assert_eq!(answer.headers["www-authenticate"], INVALID_TOKEN, "{name}");
        bodies.insert(answer.text);
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert!(bodies.contains(r#"{"error":"unauthorized"}"#));
}

/// Every way to present a good token that is not the one right way.
fn misplaced_tokens(server: &TestServer) -> Vec<(&'static str, Request<Body>)> {
    let token = server.token(&[Scope::LogsRead]);
    // Each of them has a good proof: it is not that for which it is refused.
    let proved = || {
        let mut request = server.request(Some(&token), &list());
        request.headers_mut().remove(AUTHORIZATION);
        request
    };
    let with = |values: &[&str]| {
        let mut request = proved();
        for value in values {
            let value = HeaderValue::try_from(*value).unwrap();
            request.headers_mut().append(AUTHORIZATION, value);
        }
        request
    };
    let at = |uri: String, token: Option<&str>| {
        let mut request = server.request(token, &list());
        *request.uri_mut() = uri.parse().unwrap();
        request
    };
    let good = format!("DPoP {token}");
    let mut cookie = proved();
    cookie
        .headers_mut()
        .insert("cookie", format!("access_token={token}").parse().unwrap());
    vec![
        ("nothing", with(&[])),
        ("two headers, both good", with(&[&good, &good])),
        ("two headers, the other empty", with(&[&good, ""])),
        (
            "two tokens in one header",
            with(&[&format!("{good}, {good}")]),
        ),
        ("another scheme", with(&[&format!("Basic {token}")])),
        ("no scheme", with(&[&token])),
        ("as a bearer token", with(&[&format!("Bearer {token}")])),
        ("two spaces", with(&[&format!("DPoP  {token}")])),
        (
            "in the query",
            at(format!("/mcp?access_token={token}"), None),
        ),
        (
            "in the query as well",
            at(format!("/mcp?x=1&access_token={token}"), Some(&token)),
        ),
        ("in a cookie", cookie),
    ]
}

#[tokio::test]
async fn a_token_counts_only_in_the_one_header() {
    let (server, _) = sample::server();
    for (name, request) in misplaced_tokens(&server) {
        let answer = server.send(request).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
        assert_eq!(answer.text, r#"{"error":"unauthorized"}"#, "{name}");
    }
}

#[tokio::test]
async fn a_run_that_ended_is_out_even_with_a_good_token() {
    let (server, casebook) = sample::server();
    casebook.end(server.run.investigation);
    let answer = with_token(&server, &server.token(&[Scope::LogsRead])).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.text, r#"{"error":"unauthorized"}"#);
}

#[tokio::test]
async fn a_superseded_epoch_is_out_and_the_new_one_is_in() {
    let (server, casebook) = sample::server();
    let mut later = server.run.clone();
    later.epoch = Epoch(server.run.epoch.0 + 1);
    casebook.make_live(&later);

    let zombie = with_token(&server, &server.token(&[Scope::LogsRead])).await;
    let current = with_token(&server, &server.token_of(&later, &[Scope::LogsRead])).await;

    assert_eq!(zombie.status, StatusCode::UNAUTHORIZED);
    assert_eq!(current.status, StatusCode::OK);
}

#[tokio::test]
async fn while_the_casebook_cannot_be_asked_nobody_gets_in() {
    let (server, casebook) = sample::server();
    casebook.set_down(true);
    let answer = with_token(&server, &server.token(&[Scope::LogsRead])).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");

    casebook.set_down(false);
    let answer = with_token(&server, &server.token(&[Scope::LogsRead])).await;
    assert_eq!(answer.status, StatusCode::OK);
}
