//! The statement of which machine this is: signed, verifiable, and for root inside only.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde_json::Value;

use crate::world::{ORG, REGION, World, skipped};

const ASK: &str = "perl /opt/http.pl /.fly/api POST /v1/tokens/oidc localhost";

fn token(printed: &str) -> &str {
    let mut lines = printed.lines();
    lines
        .find(|line| line.starts_with("eyJ"))
        .unwrap_or_else(|| panic!("no token in {printed}"))
}

async fn fetch(url: &str) -> Value {
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

/// Verifies as a stranger would: discovery, keys, signature, claims.
pub(crate) async fn verified(world: &World, token: &str, audience: &str) -> Value {
    let issuer = format!("{}/oidc", world.base);
    let discovery = fetch(&format!("{issuer}/.well-known/openid-configuration")).await;
    assert_eq!(discovery["issuer"], issuer.as_str());
    let keys: JwkSet =
        serde_json::from_value(fetch(discovery["jwks_uri"].as_str().unwrap()).await).unwrap();
    let key_id = decode_header(token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&key_id).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    validation.validate_nbf = true;
    decode(token, &key, &validation).unwrap().claims
}

pub(crate) async fn names_the_machine(world: &World) {
    let script = format!("{ASK} '{{\"aud\":\"session\"}}'; {ASK}; exec sleep 60");
    let made = world.make("identity", &script).await;
    world
        .client
        .start("identity", &made.machine.id)
        .await
        .unwrap();
    let printed = world.printed(&made, "END").await;
    let claims = verified(world, token(&printed), "session").await;
    let machine = world
        .client
        .machine("identity", &made.machine.id)
        .await
        .unwrap();
    for (claim, expected) in [
        ("sub", format!("{ORG}:identity:{}", machine.name)),
        ("app_name", "identity".to_owned()),
        ("app_id", world.client.app("identity").await.unwrap().id),
        ("machine_id", machine.id),
        ("machine_name", machine.name),
        ("machine_version", machine.instance_id),
        ("image", "registry.test/probe".to_owned()),
        ("image_digest", machine.image_ref.digest),
        ("org_name", ORG.to_owned()),
        ("region", REGION.to_owned()),
    ] {
        assert_eq!(claims[claim], expected.as_str(), "{claim}");
    }
    let at = |claim: &str| claims[claim].as_i64().unwrap();
    assert_eq!(at("exp") - at("iat"), 600);
    assert_eq!(at("nbf"), at("iat"));
}

#[tokio::test]
async fn a_statement_verifies_against_the_published_keys_and_names_the_machine() {
    names_the_machine(&World::new().await).await;
}

#[tokio::test]
async fn every_statement_is_new_and_survives_a_restart_of_the_server_as_valid() {
    let mut world = World::new().await;
    let script = format!("{ASK} '{{\"aud\":\"x\"}}'; {ASK} '{{\"aud\":\"x\"}}'");
    let printed = world.run("a", &script).await;
    let tokens: Vec<&str> = printed
        .lines()
        .filter(|line| line.starts_with("eyJ"))
        .collect();
    assert_eq!(tokens.len(), 2, "{printed}");
    world.kill();
    world.launch().await;
    let first = verified(&world, tokens[0], "x").await;
    let second = verified(&world, tokens[1], "x").await;
    assert_ne!(first["jti"], second["jti"]);
}

#[tokio::test]
async fn the_socket_offers_one_call_and_only_to_root_inside() {
    let world = World::new().await;
    let as_other = "setpriv --reuid 1002 --regid 1002 --clear-groups";
    let script = format!(
        "perl /opt/http.pl /.fly/api GET /v1/tokens/oidc localhost; \
         perl /opt/http.pl /.fly/api POST /v1/apps localhost '{{}}'; \
         perl /opt/http.pl /.fly/api POST /v1/tokens/oidc localhost nonsense; \
         echo OTHER; {as_other} {ASK}; {as_other} ls /.fly 2>&1; exit 0"
    );
    let printed = world.run("a", &script).await;
    let (root, other) = printed.split_once("OTHER\n").unwrap();
    assert_eq!(root.matches("HTTP/1.1 404").count(), 2, "{root}");
    assert_eq!(root.matches("HTTP/1.1 400").count(), 1, "{root}");
    if printed.contains("setpriv: set") {
        skipped("there are no other users inside");
        return;
    }
    assert!(
        other.contains("NO CONNECTION: Permission denied"),
        "{other}"
    );
    assert!(other.contains("ls: cannot open directory"), "{other}");
    assert!(!other.contains("eyJ"), "{other}");
}
