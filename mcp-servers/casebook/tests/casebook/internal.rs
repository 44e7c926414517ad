//! The door for servers without a database, opened with the client that they use.

use axum::body::Body;
use http::{Request, StatusCode, header::AUTHORIZATION};
use nightshift_casebook::{Credentials, internal_routes};
use nightshift_domain::{Epoch, EvidenceKind, Investigation, InvestigationId};
use nightshift_mcp_kit::{
    CasebookClient, CasebookLink, Clock, EvidenceLog, LogRefusal, ModelLog, Runs, casebook,
    hosts::Hosts,
};
use nightshift_protocol::run::{RecordCall, RecordEvidence, RecordModelUse};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tower::ServiceExt;

use crate::fixture::{Run, World, draft};

const TELEMETRY: &str = "telemetry-0123456789abcdef";
const LLM: &str = "llm-0123456789abcdef";

fn credentials() -> Credentials {
    let pairs = [("telemetry", TELEMETRY), ("llm", LLM)];
    Credentials::new(
        pairs
            .map(|(name, secret)| (name.to_owned(), secret.to_owned()))
            .to_vec(),
    )
    .unwrap()
}

/// The internal API on a real listener, and a client of the service with this secret.
async fn client(world: &World, secret: &str) -> CasebookClient {
    let routes = internal_routes(world.cases.clone(), credentials(), Hosts::of_this_machine());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    tokio::spawn(axum::serve(listener, routes).into_future());
    let link = CasebookLink {
        base,
        credential: secret.into(),
    };
    CasebookClient::new(casebook::http_client().unwrap(), &link).unwrap()
}

fn evidence(run: Run, content: Value) -> RecordEvidence {
    RecordEvidence {
        epoch: run.key.epoch,
        kind: EvidenceKind::Logs,
        tool: "telemetry.query_logs".to_owned(),
        arguments: json!({ "service": "ledger" }),
        content,
        truncated: true,
        took_ms: 12,
    }
}

fn call(run: Run, tool: &str) -> RecordCall {
    RecordCall {
        epoch: run.key.epoch,
        tool: tool.to_owned(),
        arguments: json!({ "q": "a\u{0}b" }),
        outcome: "failed".to_owned(),
        detail: Some("no\u{0}pe".to_owned()),
        took_ms: 1,
    }
}

fn model_use(run: Run, at: chrono::DateTime<chrono::Utc>) -> RecordModelUse {
    RecordModelUse {
        epoch: run.key.epoch,
        at,
        provider: "analyst".to_owned(),
        model: "analyst-1".to_owned(),
        input_tokens: 10,
        output_tokens: 5,
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_run_is_live_while_it_works_at_its_epoch_and_at_no_other_time(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let config = json!({ "backend": "recording", "store": "shop" });
    let mut tx = world.store.begin().await.unwrap();
    tx.put_connection(tenant, "telemetry", &config)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let client = client(&world, TELEMETRY).await;
    let id = run.key.investigation;

    let status = client.status(id, run.key.epoch).await.unwrap().unwrap();
    assert_eq!((status.tenant, status.sandbox), (tenant, run.key.sandbox));
    assert_eq!(status.fired_at, world.clock.now());
    assert_eq!(status.connections["telemetry"], config);
    let other_epoch = client.status(id, run.key.epoch.next()).await.unwrap();
    assert_eq!(other_epoch, None);
    let nobody = client
        .status(InvestigationId::generate(), Epoch(1))
        .await
        .unwrap();
    assert_eq!(nobody, None);

    world
        .server(run)
        .call("submit_report", json!({ "report": draft(&[], 0.5) }))
        .await
        .worked();
    assert_eq!(
        client.status(id, run.key.epoch).await.unwrap(),
        None,
        "it has reported"
    );
    world.transit(id, Investigation::resume).await;
    assert_eq!(
        client.status(id, run.key.epoch.next()).await.unwrap(),
        None,
        "not attested yet"
    );
    world.attest(id).await;
    assert!(
        client
            .status(id, run.key.epoch.next())
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        client.status(id, run.key.epoch).await.unwrap(),
        None,
        "superseded"
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn evidence_is_kept_cleaned_with_its_digest_and_its_server(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let client = client(&world, TELEMETRY).await;
    let content = json!({ "b": [1, 0.25, 1e-7], "a": "x\u{0}\u{1b}[1my" });

    let id = client
        .record(run.key.investigation, evidence(run, content))
        .await
        .unwrap();

    let kept = world.cases.one_evidence(run.key, id).await.unwrap();
    assert_eq!(kept.content, json!({ "a": "xy", "b": [1, 0.25, 1e-7] }));
    let text = r#"{"a":"xy","b":[1,0.25,1e-7]}"#;
    assert_eq!(
        kept.digest,
        format!("{:x}", Sha256::digest(text.as_bytes()))
    );
    assert!(kept.truncated);
    assert_eq!(kept.recorded_at, world.clock.now());
    let server: String = sqlx::query_scalar("select server from evidence")
        .fetch_one(&world.pg)
        .await
        .unwrap();
    assert_eq!(server, "telemetry");
}

#[sqlx::test(migrations = "../../migrations")]
async fn nothing_is_kept_for_a_run_that_is_not_live(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let id = run.key.investigation;
    world.transit(id, Investigation::restart).await;
    world.attest(id).await;
    let telemetry = client(&world, TELEMETRY).await;
    let llm = client(&world, LLM).await;

    let kept = telemetry.record(id, evidence(run, json!({}))).await;
    assert_eq!(kept, Err(LogRefusal::NotLive));
    let kept = telemetry.call(id, call(run, "telemetry.query_logs")).await;
    assert_eq!(kept, Err(LogRefusal::NotLive));
    let kept = llm.model_use(id, model_use(run, world.clock.now())).await;
    assert_eq!(kept, Err(LogRefusal::NotLive));

    assert_eq!(world.cases.evidence(run.key).await.unwrap(), []);
    assert!(!world.events(run).await.contains(&"working".to_owned()));
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_first_request_to_the_model_is_the_moment_of_working(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let llm = client(&world, LLM).await;
    let id = run.key.investigation;
    let first = world.clock.now() - chrono::TimeDelta::milliseconds(250);

    llm.model_use(id, model_use(run, first)).await.unwrap();
    llm.model_use(id, model_use(run, world.clock.now()))
        .await
        .unwrap();

    let events = world.store.events_after(None, id, 0).await.unwrap();
    let working: Vec<_> = events
        .into_iter()
        .filter(|event| event.kind == "working")
        .collect();
    assert_eq!(working.len(), 1);
    assert_eq!(working[0].at, first);
    let uses: i64 = sqlx::query_scalar("select count(*) from model_uses")
        .fetch_one(&world.pg)
        .await
        .unwrap();
    assert_eq!(uses, 2);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_service_speaks_for_its_own_tools_only(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let telemetry = client(&world, TELEMETRY).await;
    let llm = client(&world, LLM).await;
    let id = run.key.investigation;
    let forbidden = Err(LogRefusal::Unavailable(
        "it answered 403 Forbidden".to_owned(),
    ));

    let mut forged = evidence(run, json!({}));
    forged.tool = "codebase.read_commit".to_owned();
    assert_eq!(telemetry.record(id, forged).await.map(drop), forbidden);
    assert_eq!(
        llm.record(id, evidence(run, json!({}))).await.map(drop),
        forbidden
    );
    assert_eq!(
        telemetry.call(id, call(run, "codebase.read_commit")).await,
        forbidden
    );
    assert_eq!(
        telemetry
            .model_use(id, model_use(run, world.clock.now()))
            .await,
        forbidden
    );
    telemetry
        .call(id, call(run, "telemetry.query_logs"))
        .await
        .unwrap();

    assert_eq!(world.cases.evidence(run.key).await.unwrap(), []);
    let calls: Vec<(String, String)> = sqlx::query_as("select server, detail from tool_calls")
        .fetch_all(&world.pg)
        .await
        .unwrap();
    assert_eq!(calls, [("telemetry".to_owned(), "nope".to_owned())]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_answer_that_is_too_large_is_not_kept(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let telemetry = client(&world, TELEMETRY).await;
    let large = evidence(run, json!({ "lines": "x".repeat(70_000) }));
    let kept = telemetry.record(run.key.investigation, large).await;
    assert!(matches!(kept, Err(LogRefusal::Unavailable(_))), "{kept:?}");
    assert_eq!(world.cases.evidence(run.key).await.unwrap(), []);
}

#[sqlx::test(migrations = "../../migrations")]
async fn who_does_not_prove_to_be_a_service_learns_nothing(pg: PgPool) {
    let world = World::new(pg).await;
    let tenant = world.tenant("acme").await;
    let run = world.run(tenant, "ledger").await;
    let routes = internal_routes(world.cases.clone(), credentials(), Hosts::of_this_machine());
    let id = run.key.investigation;
    let ask = async |path: &str, headers: &[&str]| {
        let mut request = Request::get(path).header("host", "localhost");
        for header in headers {
            request = request.header(AUTHORIZATION, *header);
        }
        let answer = routes
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        answer.status()
    };
    let path = format!("/internal/v1/runs/{id}?epoch={}", run.key.epoch);
    let good = format!("Bearer {TELEMETRY}");

    assert_eq!(ask(&path, &[&good]).await, StatusCode::OK);
    for headers in [
        &[][..],
        &[TELEMETRY],
        &["Bearer "],
        &["Bearer telemetry-0123456789abcdeg"],
        &[&good, &good],
        &[&format!("{good}x")],
    ] {
        assert_eq!(
            ask(&path, headers).await,
            StatusCode::UNAUTHORIZED,
            "{headers:?}"
        );
    }
    let unknown = format!("/internal/v1/runs/{}?epoch=1", InvestigationId::generate());
    assert_eq!(ask(&unknown, &[]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("/healthz", &[]).await, StatusCode::OK);
}
