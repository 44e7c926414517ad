//! Statements that are not what they should be, each of which would open the door if believed.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    issuer::{Issuer, forge},
    world::World,
};

/// Asserts that every statement is refused with the very same answer, and that a good one passes after.
async fn all_refused(world: &World, statements: Vec<(&str, String)>) {
    let reference = world.attest("no statement").await;
    assert_eq!(
        (reference.status, reference.kind()),
        (StatusCode::UNAUTHORIZED, "bad-statement")
    );
    for (name, statement) in statements {
        assert_eq!(world.attest(&statement).await, reference, "{name}");
    }
    assert_eq!(
        world.attest(&world.statement("m1")).await.status,
        StatusCode::OK
    );
}

fn changed(world: &World, name: &str, value: Value) -> Value {
    let mut claims = world.claims("m1");
    claims[name] = value;
    claims
}

#[sqlx::test(migrations = "../../migrations")]
async fn claims_that_are_wrong_or_missing_are_refused(pg: PgPool) {
    let world = World::new(pg).await;
    world.claimed("m1").await;
    let now = world.now().timestamp();
    let mut statements = vec![];
    for (name, claim, value) in [
        ("another audience", "aud", json!("sts.amazonaws.com")),
        (
            "our audience among others",
            "aud",
            json!(["urn:nightshift:session", "other"]),
        ),
        (
            "our audience in a list",
            "aud",
            json!(["urn:nightshift:session"]),
        ),
        ("another issuer", "iss", json!("https://oidc.fly.io/evil")),
        (
            "our issuer with a slash",
            "iss",
            json!(format!("{}/", world.issuer.url)),
        ),
        ("expired", "exp", json!(now - 5)),
        ("expiry as text", "exp", json!("never")),
        ("ten years of life", "exp", json!(now + 315_360_000)),
        ("beyond all time", "exp", json!(i64::MAX)),
        ("not valid yet", "nbf", json!(now + 6)),
        ("begin as text", "nbf", json!("soon")),
        ("issued too long ago", "iat", json!(now - 301)),
        ("issued in the future", "iat", json!(now + 6)),
        ("an empty identity", "jti", json!("")),
        ("a huge identity", "jti", json!("j".repeat(201))),
    ] {
        statements.push((
            name,
            world.issuer.sign("first", &changed(&world, claim, value)),
        ));
    }
    for claim in [
        "iss",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "machine_id",
        "app_name",
        "machine_version",
        "image_digest",
    ] {
        let mut claims = world.claims("m1");
        claims.as_object_mut().unwrap().remove(claim);
        statements.push((claim, world.issuer.sign("first", &claims)));
    }
    all_refused(&world, statements).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_edges_of_time_are_where_they_should_be(pg: PgPool) {
    let world = World::new(pg).await;
    world.ready("m1").await;
    let now = world.now().timestamp();
    for (claim, value) in [
        ("exp", now - 4),
        ("nbf", now + 5),
        ("iat", now - 300),
        ("iat", now + 5),
    ] {
        let mut claims = changed(&world, claim, json!(value));
        if claim == "exp" {
            claims["iat"] = json!(now - 300);
        }
        let answer = world.attest(&world.issuer.sign("first", &claims)).await;
        assert_eq!(answer.kind(), "not-claimed", "{claim} {value}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn headers_cannot_choose_the_key_or_the_algorithm(pg: PgPool) {
    let world = World::new(pg).await;
    world.claimed("m1").await;
    let (issuer, claims) = (&world.issuer, world.claims("m1"));
    issuer.make("mine");
    // An issuer that publishes a shared secret must not make it a signing key.
    issuer.publish_raw(
        json!({"kty": "oct", "kid": "shared", "alg": "HS256", "k": B64.encode("secret")}),
    );
    let public = issuer.jwk("first");
    let point = [
        &[4][..],
        &B64.decode(public["x"].as_str().unwrap()).unwrap(),
        &B64.decode(public["y"].as_str().unwrap()).unwrap(),
    ]
    .concat();
    let hs = |kid: &str| json!({"alg": "HS256", "typ": "JWT", "kid": kid});
    let es = |extra: Value| {
        let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": "first"});
        header
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        header
    };
    let good = issuer.sign("first", &claims);
    let (message, _) = good.rsplit_once('.').unwrap();
    let swapped = issuer.sign("first", &changed(&world, "machine_id", json!("m9")));
    let statements = vec![
        (
            "alg none",
            forge(&json!({"alg": "none", "kid": "first"}), &claims, None),
        ),
        ("no signature", format!("{message}.")),
        (
            "public key as HMAC secret",
            forge(&hs("first"), &claims, Some(&point)),
        ),
        (
            "public JWK as HMAC secret",
            forge(&hs("first"), &claims, Some(public.to_string().as_bytes())),
        ),
        (
            "published shared secret",
            forge(&hs("shared"), &claims, Some(b"secret")),
        ),
        (
            "RS256 over an EC key",
            forge(&json!({"alg": "RS256", "kid": "first"}), &claims, None),
        ),
        (
            "a key that was never published",
            issuer.sign("mine", &claims),
        ),
        (
            "a stranger's key under our name",
            issuer.sign_raw("mine", &es(json!({})), &claims),
        ),
        (
            "a key brought along",
            issuer.sign_raw("mine", &es(json!({"jwk": issuer.jwk("mine")})), &claims),
        ),
        (
            "a key set brought along",
            issuer.sign_raw(
                "mine",
                &es(json!({"jku": format!("{}/keys", issuer.url)})),
                &claims,
            ),
        ),
        (
            "a demanded extension",
            issuer.sign_raw(
                "first",
                &es(json!({"crit": ["b64"], "b64": false})),
                &claims,
            ),
        ),
        (
            "no key id",
            issuer.sign_raw("first", &json!({"alg": "ES256"}), &claims),
        ),
        (
            "a path as key id",
            issuer.sign_raw("first", &es(json!({"kid": "../../dev/null"})), &claims),
        ),
        (
            "another signature",
            format!("{message}.{}", swapped.rsplit_once('.').unwrap().1),
        ),
        ("four parts", format!("{good}.x")),
        ("too long", format!("{good}{}", "A".repeat(9_000))),
        ("nothing", String::new()),
    ];
    all_refused(&world, statements).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_token_of_another_issuer_with_the_same_key_id_is_refused(pg: PgPool) {
    let world = World::new(pg).await;
    world.claimed("m1").await;
    let other = Issuer::start().await;
    let own_name = other.sign("first", &changed(&world, "iss", json!(other.url)));
    let our_name = other.sign("first", &world.claims("m1"));
    all_refused(
        &world,
        vec![("its own name", own_name), ("our issuer's name", our_name)],
    )
    .await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_new_key_is_found_once_and_invented_ones_do_not_wear_the_issuer_out(pg: PgPool) {
    let world = World::new(pg).await;
    world.claimed("m1").await;
    assert_eq!(
        world.attest(&world.statement("m1")).await.status,
        StatusCode::OK
    );
    assert_eq!(world.issuer.reads(), 1);

    world.issuer.make("invented");
    for _ in 0..20 {
        let statement = world.issuer.sign("invented", &world.claims("m1"));
        assert_eq!(
            world.attest(&statement).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    assert!(world.issuer.reads() <= 2, "{} reads", world.issuer.reads());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_published_after_the_first_look_is_found(pg: PgPool) {
    let world = World::new(pg).await;
    world.ready("m1").await;
    assert_eq!(
        world.attest(&world.statement("m1")).await.kind(),
        "not-claimed"
    );
    world.issuer.publish("second");
    // Looks for missing keys rest for five seconds.
    tokio::time::sleep(std::time::Duration::from_millis(5_100)).await;
    let statement = world.issuer.sign("second", &world.claims("m1"));
    assert_eq!(world.attest(&statement).await.kind(), "not-claimed");
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_issuer_that_is_down_is_our_trouble_and_not_the_sandboxs(pg: PgPool) {
    let world = World::new(pg).await;
    world.ready("m1").await;
    world.issuer.set_down(true);
    let answer = world.attest(&world.statement("m1")).await;
    assert_eq!(
        (answer.status, answer.kind()),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
    world.issuer.set_down(false);
    assert_eq!(
        world.attest(&world.statement("m1")).await.kind(),
        "not-claimed"
    );
    // Known keys go on counting while it is down.
    world.issuer.set_down(true);
    assert_eq!(
        world.attest(&world.statement("m1")).await.kind(),
        "not-claimed"
    );
}
