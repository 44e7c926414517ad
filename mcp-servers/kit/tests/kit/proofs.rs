//! A token counts only with a proof that its sender holds the key; everything that is no such proof.

use axum::body::Body;
use http::{HeaderValue, Request, StatusCode};
use nightshift_domain::{Scope, scope::Audience};
use nightshift_mcp_kit::{
    Clock, SystemClock,
    testing::{Answer, Holder, Issuer, TestServer, encode, proof_claims, unsigned},
};
use serde_json::{Value, json};

use crate::sample;

const INVALID_PROOF: &str = concat!(
    r#"DPoP error="invalid_dpop_proof", algs="ES256", resource_metadata="#,
    r#""http://server.nightshift.internal/.well-known/oauth-protected-resource""#
);

fn list() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })
}

fn good_claims(token: &str) -> Value {
    serde_json::to_value(proof_claims("POST", TestServer::url(), token)).unwrap()
}

/// The request with this proof in place of its own.
fn with_proof(server: &TestServer, token: &str, proof: HeaderValue) -> Request<Body> {
    let mut request = server.request(Some(token), &list());
    request.headers_mut().insert("dpop", proof);
    request
}

async fn proved(server: &TestServer, token: &str, proof: HeaderValue) -> Answer {
    server.send(with_proof(server, token, proof)).await
}

#[tokio::test]
async fn a_token_and_a_fresh_proof_for_the_request_are_let_in() {
    let (server, _) = sample::server();
    let token = server.token(&[Scope::LogsRead]);
    for url in [
        TestServer::url(),
        // The same address after RFC 3986's normalisation, and the parts that do not count.
        "HTTP://Server.Nightshift.internal:80/mcp",
        "http://server.nightshift.internal/a/../mcp?x=1#top",
    ] {
        let proof = Holder::default().prove("POST", url, &token);
        let answer = proved(&server, &token, proof).await;
        assert_eq!(answer.status, StatusCode::OK, "{url}: {}", answer.text);
    }
    for age in [-4, 0, 58] {
        let mut claims = good_claims(&token);
        claims["iat"] = json!(SystemClock.now().timestamp() - age);
        let proof = Holder::default().prove_as(&Holder::default().header(), &claims);
        let answer = proved(&server, &token, proof).await;
        assert_eq!(answer.status, StatusCode::OK, "{age}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_stolen_token_is_worth_nothing_without_its_key() {
    let (server, casebook) = sample::server();
    let token = server.token(&[Scope::LogsRead]);
    let stranger = Holder::stranger();

    let mut bare = server.request(Some(&token), &list());
    bare.headers_mut().remove("dpop");
    let without = server.send(bare).await;
    let own_key = stranger.prove("POST", TestServer::url(), &token);
    let by_another = proved(&server, &token, own_key).await;
    // The stranger's signature under the holder's public key.
    let claims = good_claims(&token);
    let pretended = stranger.prove_as(&Holder::default().header(), &claims);
    let by_pretence = proved(&server, &token, pretended).await;

    for answer in [without, by_another, by_pretence] {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers["www-authenticate"], INVALID_PROOF);
        assert_eq!(answer.text, r#"{"error":"unauthorized"}"#);
    }
    assert_eq!(casebook.times_asked(), 0, "nobody was asked about its run");
}

#[tokio::test]
async fn whoever_brings_nothing_is_told_what_is_wanted_and_no_error() {
    let (server, _) = sample::server();
    let answer = server.post(None, &list()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        answer.headers["www-authenticate"],
        INVALID_PROOF.replace(r#"error="invalid_dpop_proof", "#, "")
    );
}

#[tokio::test]
async fn a_bound_token_is_no_bearer_token_even_beside_a_good_proof() {
    let (server, _) = sample::server();
    let token = server.token(&[Scope::LogsRead]);
    let mut request = server.request(Some(&token), &list());
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let answer = server.send(request).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with(r#"DPoP error="invalid_token""#));
}

/// Every spoiled claim of a proof, with the claims it leaves.
fn spoiled_claims(token: &str, other: &str) -> Vec<(&'static str, Value)> {
    let now = SystemClock.now().timestamp();
    let good = good_claims(token);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let ath = |token: &str| good_claims(token)["ath"].clone();
    let mut spoiled = vec![
        ("htm is another method", with("htm", json!("GET"))),
        ("htm is in lower case", with("htm", json!("post"))),
        (
            "htu is another server",
            with("htu", json!("http://llm.nightshift.internal/mcp")),
        ),
        (
            "htu is the address behind the name",
            with("htu", json!("http://127.0.0.1:4001/mcp")),
        ),
        (
            "htu is another path",
            with("htu", json!("http://server.nightshift.internal/healthz")),
        ),
        (
            "htu is a longer path",
            with("htu", json!("http://server.nightshift.internal/mcp/")),
        ),
        (
            "htu is another scheme",
            with("htu", json!("https://server.nightshift.internal/mcp")),
        ),
        (
            "htu is another port",
            with("htu", json!("http://server.nightshift.internal:81/mcp")),
        ),
        (
            "htu names a user",
            with("htu", json!("http://me@server.nightshift.internal/mcp")),
        ),
        ("htu is a path alone", with("htu", json!("/mcp"))),
        ("iat is too old", with("iat", json!(now - 62))),
        ("iat is to come", with("iat", json!(now + 8))),
        ("iat is as far as numbers go", with("iat", json!(i64::MAX))),
        ("iat is text", with("iat", json!(now.to_string()))),
        ("ath is of another token", with("ath", ath(other))),
        ("ath is the token itself", with("ath", json!(token))),
        ("ath is empty", with("ath", json!(""))),
        ("jti is empty", with("jti", json!(""))),
        ("jti is very long", with("jti", json!("j".repeat(129)))),
        ("jti is a number", with("jti", json!(7))),
    ];
    for name in ["jti", "htm", "htu", "iat", "ath"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name).unwrap();
        spoiled.push(("a claim is missing", claims));
    }
    spoiled
}

/// Every spoiled header of a proof.
fn spoiled_headers() -> Vec<(&'static str, Value)> {
    let holder = Holder::default();
    let with = |name: &str, value: Value| {
        let mut header = holder.header();
        header[name] = value;
        header
    };
    let jwk = |name: &str, value: Value| {
        let mut header = holder.header();
        header["jwk"][name] = value;
        header
    };
    let without = |name: &str| {
        let mut header = holder.header();
        header.as_object_mut().unwrap().remove(name).unwrap();
        header
    };
    let symmetric = json!({ "kty": "oct", "k": "c2VjcmV0" });
    vec![
        ("typ is that of a token", with("typ", json!("at+jwt"))),
        ("typ is JWT", with("typ", json!("JWT"))),
        ("alg is none", with("alg", json!("none"))),
        ("alg is HS256", with("alg", json!("HS256"))),
        ("alg is RS256", with("alg", json!("RS256"))),
        ("alg is ES384", with("alg", json!("ES384"))),
        (
            "jwk has its private half",
            jwk("d", json!(holder.private())),
        ),
        ("jwk is a shared secret", with("jwk", symmetric)),
        ("jwk is on another curve", jwk("crv", json!("P-384"))),
        ("jwk is of another kind", jwk("kty", json!("OKP"))),
        ("jwk has a short coordinate", jwk("x", json!("AAAA"))),
        ("jwk is text", with("jwk", json!("key"))),
        ("a critical extension", with("crit", json!(["b64"]))),
        ("a key by its name", with("kid", json!("key-1"))),
        ("no typ", without("typ")),
        ("no alg", without("alg")),
        ("no jwk", without("jwk")),
    ]
}

#[tokio::test]
async fn every_spoiled_proof_gets_the_same_answer() {
    let (server, casebook) = sample::server();
    let holder = Holder::default();
    let token = server.token(&[Scope::LogsRead]);
    let other = server.token(&[Scope::LogsRead, Scope::MetricsRead]);
    assert_ne!(token, other);
    let mut attacks: Vec<(&str, HeaderValue)> = Vec::new();
    for (name, claims) in spoiled_claims(&token, &other) {
        attacks.push((name, holder.prove_as(&holder.header(), &claims)));
    }
    for (name, header) in spoiled_headers() {
        attacks.push((name, holder.prove_as(&header, &good_claims(&token))));
    }
    let text = |text: String| HeaderValue::try_from(text).unwrap();
    let message = unsigned(&holder.header(), &good_claims(&token));
    let good = holder.prove_as(&holder.header(), &good_claims(&token));
    let good = good.to_str().unwrap();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    attacks.extend([
        ("no signature", text(format!("{message}."))),
        (
            "somebody else's words",
            text(format!("{message}.{signature}")),
        ),
        (
            "a signature of zeros",
            text(format!("{signed}.{}", encode([0; 64]))),
        ),
        ("two parts", text(signed.to_owned())),
        ("four parts", text(format!("{good}.{signature}"))),
        ("nothing", text(String::new())),
        (
            "not JSON",
            text(format!("{}.{}.{signature}", encode("{"), encode("{}"))),
        ),
        ("the token itself", text(token.clone())),
        (
            "larger than any proof",
            text(format!("{good}{}", "A".repeat(5_000))),
        ),
    ]);

    for (name, proof) in attacks {
        let answer = proved(&server, &token, proof).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
        assert_eq!(answer.headers["www-authenticate"], INVALID_PROOF, "{name}");
        assert_eq!(answer.text, r#"{"error":"unauthorized"}"#, "{name}");
    }
    let mut two = server.request(Some(&token), &list());
    let second = holder.prove("POST", TestServer::url(), &token);
    two.headers_mut().append("dpop", second);
    let answer = server.send(two).await;
    assert_eq!(answer.headers["www-authenticate"], INVALID_PROOF, "two");
    assert_eq!(casebook.times_asked(), 0);
}

#[tokio::test]
async fn a_proof_that_was_used_is_used_up_and_a_refused_one_is_not_remembered() {
    let (server, _) = sample::server();
    let token = server.token(&[Scope::LogsRead]);
    let holder = Holder::default();
    let proof = holder.prove("POST", TestServer::url(), &token);

    assert_eq!(
        proved(&server, &token, proof.clone()).await.status,
        StatusCode::OK
    );
    let again = proved(&server, &token, proof.clone()).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert_eq!(again.headers["www-authenticate"], INVALID_PROOF);

    // Its name under another signature of the same key is the same name.
    let mut claims = good_claims(&token);
    claims["jti"] = json!("same");
    let first = holder.prove_as(&holder.header(), &claims);
    claims["iat"] = json!(SystemClock.now().timestamp() - 1);
    let second = holder.prove_as(&holder.header(), &claims);
    // A stranger who knows the name cannot use it up.
    let forged = Holder::stranger().prove_as(&holder.header(), &claims);
    assert_eq!(
        proved(&server, &token, forged).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(proved(&server, &token, first).await.status, StatusCode::OK);
    assert_eq!(
        proved(&server, &token, second).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn of_many_that_present_one_proof_at_once_exactly_one_is_let_in() {
    let (server, _) = sample::server();
    let server = std::sync::Arc::new(server);
    let token = server.token(&[Scope::LogsRead]);
    let proof = Holder::default().prove("POST", TestServer::url(), &token);
    let tries: Vec<_> = (0..20)
        .map(|_| {
            let (server, token, proof) =
                (std::sync::Arc::clone(&server), token.clone(), proof.clone());
            tokio::spawn(async move { proved(&server, &token, proof).await.status })
        })
        .collect();
    let mut let_in = 0;
    for one in tries {
        let_in += usize::from(one.await.unwrap() == StatusCode::OK);
    }
    assert_eq!(let_in, 1);
}

#[tokio::test]
async fn a_key_that_floods_us_with_good_proofs_is_slowed_down_and_others_are_not() {
    let (server, _) = sample::server();
    let token = server.token(&[Scope::LogsRead]);
    let mut refused = None;
    for n in 0..4_200 {
        let answer = server.post(Some(&token), &list()).await;
        if answer.status != StatusCode::OK {
            assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "after {n}");
            refused = Some(answer);
            break;
        }
    }
    assert_eq!(refused.unwrap().headers["retry-after"], "10");

    let other = Holder::stranger();
    let now = SystemClock.now();
    let mut claims = Issuer::claims(&server.run, Audience::Telemetry, &[Scope::LogsRead], now);
    claims.cnf.jkt = other.thumbprint();
    let token = server.issuer.sign(&claims);
    let proof = other.prove("POST", TestServer::url(), &token);
    assert_eq!(proved(&server, &token, proof).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_tools_never_see_token_or_proof() {
    use axum::{Router, http::HeaderMap, routing::get};
    use nightshift_mcp_kit::{Gate, Keyring, TokenRules, TokenVerifier, protect};

    let (server, runs) = sample::server();
    let rules = TokenRules {
        issuer: nightshift_mcp_kit::testing::ISSUER.to_owned(),
        audience: Audience::Telemetry,
        origin: TestServer::url().parse().unwrap(),
    };
    let keys = Keyring::new(server.issuer.clone());
    let verifier = TokenVerifier::new(rules, keys, std::sync::Arc::new(SystemClock));
    let gate = std::sync::Arc::new(Gate::new(verifier, runs));
    let names = get(async |headers: HeaderMap| {
        let names: Vec<_> = headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect();
        names.join(" ")
    });
    let routes = protect(Router::new().route("/mcp", names), gate);
    let token = server.token(&[Scope::LogsRead]);
    let proof = Holder::default().prove("GET", TestServer::url(), &token);
    let request = Request::get("/mcp")
        .header("authorization", format!("DPoP {token}"))
        .header("dpop", proof)
        .header("accept", "text/plain")
        .body(Body::empty())
        .unwrap();
    let answer = tower::ServiceExt::oneshot(routes, request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = axum::body::to_bytes(answer.into_body(), 1_000)
        .await
        .unwrap();
    assert_eq!(&body[..], b"accept");
}

/// What a proof costs, to be read and not asserted:
/// `cargo nextest run -p nightshift-mcp-kit --run-ignored only --no-capture a_proof_costs`.
///
/// A request whose proof was used before fails at the last of all checks of the gate, one without a proof at
/// the first after the token's: what lies between is the proof.
#[tokio::test]
#[ignore = "it measures"]
async fn a_proof_costs_about_as_much_as_a_token() {
    const ROUNDS: usize = 500;
    let (server, _) = sample::server();
    let token = server.token(&[Scope::LogsRead]);
    let holder = Holder::default();
    let (mut sign, mut both, mut token_alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = std::time::Instant::now();
        let proof = holder.prove("POST", TestServer::url(), &token);
        sign.push(began.elapsed());
        let answer = proved(&server, &token, proof.clone()).await;
        assert_eq!(answer.status, StatusCode::OK);

        let again = with_proof(&server, &token, proof);
        let mut bare = server.request(Some(&token), &list());
        bare.headers_mut().remove("dpop");
        for (request, took) in [(again, &mut both), (bare, &mut token_alone)] {
            let began = std::time::Instant::now();
            let answer = server.send(request).await;
            took.push(began.elapsed());
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        }
    }
    let median = |took: &mut Vec<std::time::Duration>| {
        took.sort();
        took[ROUNDS / 2].as_micros()
    };
    let (sign, both, alone) = (
        median(&mut sign),
        median(&mut both),
        median(&mut token_alone),
    );
    let report = format!(
        "medians of {ROUNDS}: sign a proof {sign} us; check a token {alone} us, and a proof {} us\n",
        both.saturating_sub(alone)
    );
    std::io::Write::write_all(&mut std::io::stderr(), report.as_bytes()).unwrap();
}
