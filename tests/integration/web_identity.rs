//! Who is given a token with which AWS lets a server read a tenant's credential, and who is not.

mod aws;
mod lender;

use std::sync::Arc;

use anyhow::Result;
use axum::{Router, body::Body, http::Request, routing::get};
use nightshift_domain::{Epoch, InvestigationId, scope::Audience};
use nightshift_engine::attest::RunGrant;
use nightshift_lambda::FileSecrets;
use nightshift_mcp_kit::{
    Gate, JwksUrl, Keyring, Runs, TokenRules, TokenVerifier, casebook, protect,
    testing::{FakeCasebook, Holder, proof_claims},
};
use nightshift_secrets::{CredentialName, SecretError};
use nightshift_session::{
    SigningKey, SigningKeys,
    keys::{NextKey, rotate},
    mint,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;

use self::{
    aws::{issuer::NOW, policies::ISSUER},
    lender::{CODEBASE, Lender, SECRETS, Still, TELEMETRY, asked, part, published},
};

fn name(text: &str) -> CredentialName {
    text.parse().unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn each_run_that_works_reads_its_own_tenants_credential_and_it_is_written_down(
    pg: PgPool,
) -> Result<()> {
    let lender = Lender::new(pg).await?;
    let credentials = lender.credentials();
    for (run, text) in lender.runs.iter().zip(SECRETS) {
        let read = credentials.of_run(run, &name("loki")).await?;
        assert_eq!(read.expose(), text);
        let written = lender.written(run).await?;
        assert_eq!(written.len(), 1, "{written:?}");
        assert_eq!(
            (&written[0]["server"], &written[0]["credential"]),
            (&json!("telemetry"), &json!("loki"))
        );
    }
    let token = lender.token().await?;
    let (run, claims) = (&lender.runs[0], part(&token, 1));
    assert_eq!(part(&token, 0)["typ"], "JWT");
    assert_eq!(
        (&claims["aud"], &claims["sub"]),
        (&json!("sts.amazonaws.com"), &json!("mcp:telemetry"))
    );
    assert_eq!(claims["exp"].as_i64(), Some(NOW + 300));
    let tags = &claims["https://aws.amazon.com/tags"]["principal_tags"];
    assert_eq!(
        tags,
        &json!({
            "tenant": [run.tenant.as_uuid().to_string()],
            "run": [run.investigation.to_string()],
            "credential": ["loki"],
        })
    );
    assert_eq!(lender.written(run).await?[1]["token"], claims["jti"]);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn whoever_may_not_have_a_token_is_told_the_same_whatever_the_reason_is(
    pg: PgPool,
) -> Result<()> {
    let lender = Lender::new(pg).await?;
    let [one, two] = &lender.runs[..] else {
        unreachable!("there are two");
    };
    let good = asked(one.investigation, one.epoch, "loki");
    let of = |run: InvestigationId, epoch, credential| asked(run, epoch, credential);
    let mut cases = vec![
        ("no secret", None, good.clone()),
        ("a wrong secret", Some("telemetry-9876543210"), good.clone()),
        ("a server's name", Some("telemetry"), good.clone()),
        (
            "another server's credential",
            Some(TELEMETRY),
            of(one.investigation, one.epoch, "forge"),
        ),
        ("another server's secret", Some(CODEBASE), good.clone()),
        (
            "what only the other tenant connected",
            Some(CODEBASE),
            of(two.investigation, two.epoch, "forge"),
        ),
        (
            "an older start",
            Some(TELEMETRY),
            of(one.investigation, Epoch(one.epoch.0 - 1), "loki"),
        ),
        (
            "a start that was never",
            Some(TELEMETRY),
            of(one.investigation, Epoch(one.epoch.0 + 1), "loki"),
        ),
        (
            "no such run",
            Some(TELEMETRY),
            of(InvestigationId::generate(), one.epoch, "loki"),
        ),
        (
            "no name",
            Some(TELEMETRY),
            of(one.investigation, one.epoch, ""),
        ),
        ("no request", Some(TELEMETRY), "{}".to_owned()),
        ("too much", Some(TELEMETRY), "x".repeat(40_000)),
    ];
    let (status, answer) = lender.ask(Some(TELEMETRY), good.clone()).await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (status, alike) = lender.ask(None, good.clone()).await?;
    assert_eq!(status, StatusCode::FORBIDDEN);

    let check = async |what: &str, secret: Option<&str>, body: String| -> Result<()> {
        let refused = lender.ask(secret, body).await?;
        assert_eq!(refused, (StatusCode::FORBIDDEN, alike.clone()), "{what}");
        Ok(())
    };
    for (what, secret, body) in cases.drain(..) {
        check(what, secret, body).await?;
    }
    cancel(&lender, one.investigation).await?;
    check("an ended run", Some(TELEMETRY), good).await?;

    let written = (lender.written(one).await?, lender.written(two).await?);
    assert_eq!((written.0.len(), written.1.len()), (1, 0), "{written:?}");
    let outcome = lender.credentials().of_run(one, &name("loki")).await;
    let said = format!("{:?}", outcome.unwrap_err());
    assert_eq!(said, "Refused(WebIdentityRefused)");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_server_that_was_taken_over_reads_no_other_tenant_with_a_run_that_works(
    pg: PgPool,
) -> Result<()> {
    let lender = Lender::new(pg).await?;
    let mut forged = lender.runs[0].clone();
    forged.tenant = lender.runs[1].tenant;
    let outcome = lender.credentials().of_run(&forged, &name("loki")).await;
    assert!(
        matches!(&outcome, Err(SecretError::Refused(code)) if code.to_string() == "AccessDeniedException"),
        "{outcome:?}"
    );
    assert_eq!(lender.cloud.calls.lock().unwrap().len(), 2, "AWS said so");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn neither_token_passes_for_the_other(pg: PgPool) -> Result<()> {
    let lender = Lender::new(pg).await?;
    let (run, holder) = (&lender.runs[0], Holder::stranger());
    let lent = lender.token().await?;
    let none = Arc::new(FileSecrets::new(lender.keys.path().join("none")));
    let file = SigningKey::File(lender.keys.path().join("key.pem"));
    let keys = SigningKeys::open(file, none, None).await?.current().await;
    let grant = RunGrant {
        tenant: run.tenant,
        investigation: run.investigation,
        sandbox: run.sandbox,
        epoch: run.epoch,
    };
    let (issuer, now) = (
        format!("https://{ISSUER}"),
        nightshift_engine::Clock::now(&Still),
    );
    let tokens = mint(
        keys.signing(now),
        &issuer,
        &grant,
        &holder.thumbprint(),
        now,
    )
    .await?;
    let of_tool = tokens.iter().find(|it| it.audience == Audience::Telemetry);
    let of_tool = &of_tool.unwrap().token;

    let (status, said) = lender.assume(&lent).await?;
    assert_eq!(status, StatusCode::OK, "{said}");
    let (status, said) = lender.assume(of_tool).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(said.contains("InvalidIdentityToken"), "{said}");

    let tool = tool(&lender, &issuer)?;
    assert_eq!(call(&tool, of_tool, &holder).await?, StatusCode::OK);
    assert_eq!(call(&tool, &lent, &holder).await?, StatusCode::UNAUTHORIZED);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_rotated_key_signs_these_tokens_too_and_its_predecessor_stays_published(
    pg: PgPool,
) -> Result<()> {
    let lender = Lender::new(pg).await?;
    let kid = |token: &str| part(token, 0)["kid"].as_str().unwrap().to_owned();
    let before = kid(&lender.token().await?);
    let lead = chrono::TimeDelta::minutes(15);
    let now = nightshift_engine::Clock::now(&Still);
    rotate(
        &lender.keys.path().join("key.pem"),
        &NextKey::New,
        lead,
        now - lead,
    )?;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;

    let after = kid(&lender.token().await?);
    assert_ne!(before, after);
    let keys = published(&casebook::http_client()?, &lender.session).await?;
    assert!(keys.contains_key(&before) && keys.contains_key(&after));
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_connection_that_names_no_credential_as_it_should_is_not_stored(
    pg: PgPool,
) -> Result<()> {
    let lender = Lender::new(pg).await?;
    let tenant = lender.runs[0].tenant;
    for bad in [
        json!("../other"),
        json!(""),
        json!("A"),
        json!(7),
        json!(null),
        json!({}),
    ] {
        let config = json!({"backend": "loki", "credential": bad});
        let mut tx = lender.world.store().begin().await?;
        let outcome = tx.put_connection(tenant, "telemetry", &config).await;
        assert!(outcome.is_err(), "{bad}");
    }
    Ok(())
}

/// A tool behind the real gate, with the keys that session publishes.
fn tool(lender: &Lender, issuer: &str) -> Result<Router> {
    let casebook = Arc::new(FakeCasebook::default());
    casebook.make_live(&lender.runs[0]);
    let runs: Arc<dyn Runs> = casebook;
    let rules = TokenRules {
        issuer: issuer.to_owned(),
        audience: Audience::Telemetry,
        origin: TOOL.parse()?,
    };
    let keys = lender.session.join("/.well-known/jwks.json")?;
    let keys = Keyring::new(JwksUrl::new(casebook::http_client()?, keys));
    let gate = Gate::new(TokenVerifier::new(rules, keys, Arc::new(Still)), runs);
    let routes = Router::new().route("/", get(async || "in"));
    Ok(protect(routes, Arc::new(gate)))
}

const TOOL: &str = "http://telemetry.example/";

async fn call(tool: &Router, token: &str, holder: &Holder) -> Result<StatusCode> {
    let mut claims = proof_claims("GET", TOOL, token);
    claims.iat = NOW;
    let claims: Value = serde_json::to_value(claims)?;
    let proof = holder.prove_as(&holder.header(), &claims);
    let request = Request::get("/")
        .header("authorization", format!("DPoP {token}"))
        .header("dpop", proof)
        .body(Body::empty())?;
    Ok(tool.clone().oneshot(request).await?.status())
}

async fn cancel(lender: &Lender, run: InvestigationId) -> Result<()> {
    let now = lender.world.platform.clock.now();
    let mut tx = lender.world.store().begin().await?;
    let found = lender.world.investigation(run).await?;
    tx.apply(found.cancel("a test".to_owned(), now)?, now)
        .await?;
    Ok(tx.commit().await?)
}
