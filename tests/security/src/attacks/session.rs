//! Machines that say they are another, or say it twice, at the real session endpoint.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use axum::{Json, Router, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use nightshift_domain::sandbox::Parts;
use nightshift_engine::SystemClock;
use nightshift_lambda::FileSecrets;
use nightshift_mcp_kit::{Clock, testing::unsigned};
use nightshift_protocol::attestation::STATEMENT_AUDIENCE;
use nightshift_session::{
    Briefing, SessionState, SigningKey, SigningKeys, StatementVerifier, router,
};
use nightshift_store::{Role, Store};
use p256::{
    ecdsa::{Signature, SigningKey as Pair, signature::Signer},
    elliptic_curve::rand_core::OsRng,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    case::{Case, Outcome, case},
    database,
    stack::{DIGEST, Seeds},
};

pub(crate) const CASES: &[Case] = &[
    case!(
        20,
        "renewed-for-another-key",
        [RenewKey],
        "a stolen statement renews tokens for a thief's key",
        other_key
    ),
    case!(
        22,
        "statement-forged",
        [StatementSignature],
        "a statement that the platform did not sign",
        forged
    ),
    case!(
        22,
        "statement-of-another-image",
        [StatementMachine],
        "our machine with another image in it",
        other_image
    ),
    case!(
        22,
        "statement-for-others",
        [StatementAudience],
        "a statement that was made for somebody else",
        for_others
    ),
    case!(
        22,
        "statement-old",
        [StatementAge],
        "a statement of six minutes ago",
        old
    ),
    case!(
        22,
        "statement-kept",
        [StatementOnce],
        "a statement that was used before the claim",
        kept
    ),
    case!(
        22,
        "start-attested-twice",
        [AttestOnce],
        "a second machine with the first one's name",
        twice
    ),
    case!(
        22,
        "statement-race",
        [StatementOnce, AttestOnce],
        "ten exchanges of one statement at once",
        race
    ),
];

const MACHINE: &str = "machine-1";
const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
const THIEF: &str = "AAAAsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

/// The session endpoint, a sandbox's machine, and the platform that vouches for it.
struct World {
    platform: Pair,
    issuer: String,
    session: String,
    seeds: Seeds,
    #[expect(dead_code, reason = "it is the folder's life")]
    keys: TempDir,
}

async fn serve(routes: Router) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(url)
}

/// The platform's discovery document and its keys.
async fn serve_platform(pair: &Pair) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let point = pair.verifying_key().to_encoded_point(false);
    let coordinate =
        |bytes: Option<&p256::FieldBytes>| B64.encode(bytes.map_or(&[][..], |it| &it[..]));
    let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "first",
        "x": coordinate(point.x()), "y": coordinate(point.y()) }] });
    let configuration = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
    let routes = Router::new()
        .route(
            "/.well-known/openid-configuration",
            get(async move || Json(configuration)),
        )
        .route("/keys", get(async move || Json(keys)));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(url)
}

impl World {
    /// With a sandbox that is claimed, or ready and not claimed yet.
    async fn start(claimed: bool) -> Result<(Self, Option<i64>)> {
        let pg = database::fresh().await?;
        let seeds = Seeds::plant(pg.clone()).await?;
        let platform = Pair::random(&mut OsRng);
        let issuer = serve_platform(&platform).await?;
        let keys = TempDir::new()?;
        let secrets = Arc::new(FileSecrets::new(keys.path().join("none")));
        let file = SigningKey::File(keys.path().join("key.pem"));
        let state = SessionState {
            store: Store::new(Role::Session.acting(&pg.connect_options(), 8).await?),
            clock: Arc::new(SystemClock),
            verifier: Arc::new(StatementVerifier::new(&issuer)?),
            keys: Arc::new(SigningKeys::open(file, secrets, None).await?),
            issuer: "https://session.test".into(),
            briefing: Arc::new(Briefing::default()),
            servers: None,
        };
        let session = serve(router(state)).await?;
        let world = Self {
            platform,
            issuer,
            session,
            seeds,
            keys,
        };
        world
            .seeds
            .machine(
                MACHINE,
                Parts {
                    app: Some(format!("app-{MACHINE}")),
                    volume: Some(format!("volume-{MACHINE}")),
                    machine: Some(MACHINE.to_owned()),
                    machine_version: Some(format!("version-{MACHINE}")),
                },
            )
            .await?;
        let epoch = if claimed {
            Some(world.seeds.claim_machine(MACHINE).await?)
        } else {
            None
        };
        Ok((world, epoch))
    }

    fn claims(&self) -> Value {
        let now = nightshift_mcp_kit::SystemClock.now().timestamp();
        json!({
            "iss": self.issuer, "aud": STATEMENT_AUDIENCE, "sub": format!("org:app:{MACHINE}"),
            "app_name": format!("app-{MACHINE}"), "machine_id": MACHINE,
            "machine_version": format!("version-{MACHINE}"), "image_digest": DIGEST,
            "region": "here", "jti": uuid::Uuid::new_v4().to_string(),
            "iat": now, "nbf": now, "exp": now + 600,
        })
    }

    fn sign(&self, claims: &Value) -> String {
        signed(&self.platform, claims)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(u16, String)> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("{}{path}", self.session);
        let answer = http.post(url).json(body).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await?))
    }

    async fn attest(&self, statement: &str) -> Result<(u16, String)> {
        let body = json!({ "statement": statement, "key_thumbprint": THUMBPRINT });
        self.post("/v1/attest", &body).await
    }

    /// Ends the case unless the claimed machine itself gets its tokens.
    async fn honest(&self) -> Result<()> {
        let (status, text) = self.attest(&self.sign(&self.claims())).await?;
        ensure!(
            status == 200,
            "the machine itself was refused: {status} {text}"
        );
        Ok(())
    }
}

fn signed(pair: &Pair, claims: &Value) -> String {
    let message = unsigned(
        &json!({ "alg": "ES256", "typ": "JWT", "kid": "first" }),
        claims,
    );
    let signature: Signature = pair.sign(message.as_bytes());
    format!("{message}.{}", B64.encode(signature.to_bytes()))
}

fn judged((status, text): (u16, String)) -> Outcome {
    let brief: String = text.chars().take(90).collect();
    let got = status == 200 && text.contains("tokens");
    Outcome::of(
        got,
        format!("{status} {}", if got { "with tokens" } else { &brief }),
    )
}

/// A statement that the platform signed, changed before.
async fn changed(change: impl FnOnce(&mut Value)) -> Result<Outcome> {
    let (world, _) = World::start(true).await?;
    let mut claims = world.claims();
    change(&mut claims);
    let outcome = judged(world.attest(&world.sign(&claims)).await?);
    if matches!(outcome, Outcome::Stopped(_)) {
        world.honest().await?;
    }
    Ok(outcome)
}

async fn forged() -> Result<Outcome> {
    let (world, _) = World::start(true).await?;
    let outcome = judged(
        world
            .attest(&signed(&Pair::random(&mut OsRng), &world.claims()))
            .await?,
    );
    if matches!(outcome, Outcome::Stopped(_)) {
        world.honest().await?;
    }
    Ok(outcome)
}

async fn other_image() -> Result<Outcome> {
    changed(|claims| claims["image_digest"] = json!("sha256:e1e1")).await
}

async fn for_others() -> Result<Outcome> {
    changed(|claims| claims["aud"] = json!("https://somebody.example")).await
}

async fn old() -> Result<Outcome> {
    changed(|claims| {
        let at = claims["iat"].as_i64().unwrap_or_default() - 360;
        (claims["iat"], claims["nbf"], claims["exp"]) = (json!(at), json!(at), json!(at + 600));
    })
    .await
}

async fn kept() -> Result<Outcome> {
    let (world, _) = World::start(false).await?;
    let statement = world.sign(&world.claims());
    let (status, text) = world.attest(&statement).await?;
    ensure!(
        status != 200,
        "a machine that nobody claimed got tokens: {text}"
    );
    world.seeds.claim_machine(MACHINE).await?;
    let outcome = judged(world.attest(&statement).await?);
    if matches!(outcome, Outcome::Stopped(_)) {
        world.honest().await?;
    }
    Ok(outcome)
}

async fn twice() -> Result<Outcome> {
    let (world, _) = World::start(true).await?;
    world.honest().await?;
    Ok(judged(world.attest(&world.sign(&world.claims())).await?))
}

async fn race() -> Result<Outcome> {
    let (world, _) = World::start(true).await?;
    let statement = world.sign(&world.claims());
    let tries = (0..10).map(|_| world.attest(&statement));
    let mut let_in = 0;
    for answer in futures_util::future::join_all(tries).await {
        let_in += usize::from(answer?.0 == 200);
    }
    ensure!(let_in > 0, "nobody was let in");
    Ok(Outcome::of(
        let_in > 1,
        format!("{let_in} of 10 got tokens"),
    ))
}

async fn other_key() -> Result<Outcome> {
    let (world, epoch) = World::start(true).await?;
    world.honest().await?;
    let epoch = epoch.context("it is claimed")?;
    let renew = async |thumbprint| {
        let statement = world.sign(&world.claims());
        let body = json!({ "statement": statement, "key_thumbprint": thumbprint, "epoch": epoch });
        world.post("/v1/refresh", &body).await
    };
    let (status, text) = renew(THUMBPRINT).await?;
    ensure!(status == 200, "the holder was refused: {status} {text}");
    Ok(judged(renew(THIEF).await?))
}
