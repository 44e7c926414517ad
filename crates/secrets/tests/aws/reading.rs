//! A server reads a tenant's credential, and everybody else does not: control `tenant-session`.

use std::{
    fmt::Write as _,
    io,
    sync::{Arc, Mutex},
};

use chrono::{DateTime, Utc};
use nightshift_domain::{Epoch, InvestigationId, TenantId};
use nightshift_secrets::{
    Cached, CredentialName, Reader, SecretError, Secrets,
    aws::{AwsSecrets, Clock, Place, session_policy},
};
use p256::ecdsa::VerifyingKey;
use serde_json::{Value, json};

use crate::{
    cloud::Cloud,
    issuer::{Issuer, NOW, TAGS},
    policies::{A, ACCOUNT, B, READER, REGION, deployed},
};

const OURS: &str = "our-hunter2";
const THEIRS: &str = "their-hunter2";

struct Still;

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(NOW, 0).unwrap()
    }
}

struct World {
    cloud: Cloud,
    issuer: Issuer,
    secrets: AwsSecrets,
    place: Place,
}

async fn world() -> World {
    nightshift_http::tls::choose();
    let issuer = Issuer::new(1);
    let key = VerifyingKey::from(&issuer.key);
    let cloud = Cloud::trusting([("current".to_owned(), key)].into());
    cloud.keep(A, "loki", OURS, Some(A));
    cloud.keep(A, "pagerduty", "our-other", Some(A));
    cloud.keep(B, "loki", THEIRS, Some(B));
    let (sts, secrets_manager) = cloud.serve().await;
    let place = Place {
        region: REGION.to_owned(),
        account: ACCOUNT.to_owned(),
        environment: "prod".to_owned(),
        role: format!("arn:aws:iam::{ACCOUNT}:role/{READER}"),
        sts,
        secrets_manager,
    };
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    let secrets = AwsSecrets::new(
        place.clone(),
        http,
        Arc::new(issuer.clone()),
        Arc::new(Still),
    );
    World {
        cloud,
        issuer,
        secrets,
        place,
    }
}

fn reader(tenant: &str) -> Reader {
    let uuid = format!("ten_{}", tenant.replace('-', ""));
    let tenant: TenantId = uuid.parse().unwrap();
    let run = InvestigationId::generate();
    let epoch = Epoch(1);
    Reader { tenant, run, epoch }
}

fn name(text: &str) -> CredentialName {
    text.parse().unwrap()
}

impl World {
    async fn read(&self, tenant: &str, credential: &str) -> Result<String, SecretError> {
        let read = self.secrets.read(reader(tenant), &name(credential)).await?;
        Ok(read.expose().to_owned())
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.cloud.calls.lock().unwrap())
    }
}

fn refused(outcome: &Result<String, SecretError>, code: &str) -> bool {
    matches!(outcome, Err(SecretError::Refused(found)) if found.to_string() == code)
}

#[tokio::test]
async fn each_tenants_run_reads_that_tenants_credential_in_two_calls() {
    let world = world().await;
    assert_eq!(world.read(A, "loki").await.unwrap(), OURS);
    assert_eq!(
        world.calls(),
        ["AssumeRoleWithWebIdentity", "GetSecretValue"]
    );
    assert_eq!(world.read(B, "loki").await.unwrap(), THEIRS);
    assert_eq!(world.read(A, "pagerduty").await.unwrap(), "our-other");
    assert_eq!(world.read(A, "datadog").await, {
        // IAM does not tell those who may not read whether something is there; an absent secret has no tag.
        Err(SecretError::Refused(nightshift_secrets::Code::of(
            "AccessDeniedException",
        )))
    });
}

#[tokio::test]
async fn a_process_that_names_another_tenant_than_its_token_does_gets_nothing() {
    let world = world().await;
    // The token is A's whatever is asked for: what a process that was taken over has.
    world
        .issuer
        .wrong(|claims| claims[TAGS]["principal_tags"]["tenant"] = json!([A]));
    let outcome = world.read(B, "loki").await;
    assert!(refused(&outcome, "AccessDeniedException"), "{outcome:?}");
}

#[tokio::test]
async fn a_secret_whose_tag_is_not_its_names_tenant_is_nobodys() {
    let world = world().await;
    for tag in [Some(B), None] {
        world.cloud.keep(A, "loki", OURS, tag);
        let outcome = world.read(A, "loki").await;
        assert!(
            refused(&outcome, "AccessDeniedException"),
            "{tag:?}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_token_that_is_wrong_in_one_thing_opens_no_session() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 9] = [
        ("audience", |it| it["aud"] = json!("nightshift:telemetry")),
        ("two audiences", |it| {
            it["aud"] = json!(["sts.amazonaws.com", "x"]);
        }),
        ("issuer", |it| it["iss"] = json!("https://evil.example")),
        ("expired", |it| it["exp"] = json!(NOW)),
        ("not yet", |it| it["iat"] = json!(NOW + 60)),
        ("subject", |it| it["sub"] = json!("run:inv_1")),
        ("no tags", |it| {
            it.as_object_mut().unwrap().remove(TAGS);
        }),
        ("two tenants", |it| {
            it[TAGS]["principal_tags"]["tenant"] = json!([A, B]);
        }),
        ("a tag too many", |it| {
            it[TAGS]["principal_tags"]["admin"] = json!(["yes"]);
        }),
    ];
    for (what, change) in cases {
        let world = world().await;
        world.issuer.wrong(change);
        let outcome = world.read(A, "loki").await;
        assert!(
            matches!(outcome, Err(SecretError::Refused(_))),
            "{what}: {outcome:?}"
        );
        assert_eq!(world.calls(), ["AssumeRoleWithWebIdentity"], "{what}");
    }
}

#[tokio::test]
async fn a_token_of_another_signer_opens_no_session() {
    let mut world = world().await;
    let forger = Issuer::new(2);
    let http = reqwest::Client::new();
    world.secrets = AwsSecrets::new(world.place.clone(), http, Arc::new(forger), Arc::new(Still));
    let outcome = world.read(A, "loki").await;
    assert!(refused(&outcome, "InvalidIdentityToken"), "{outcome:?}");
}

#[tokio::test]
async fn what_aws_says_decides_what_we_say() {
    let world = world().await;
    for (status, kind, wanted) in [
        (400, "ResourceNotFoundException", "Unknown"),
        (
            400,
            "ThrottlingException",
            "Unavailable(ThrottlingException)",
        ),
        (
            500,
            "InternalServiceError",
            "Unavailable(InternalServiceError)",
        ),
        (400, "DecryptionFailure", "Refused(DecryptionFailure)"),
        (400, "evil <b>word</b>", "Refused(unreadable)"),
        (302, "", "Refused(unreadable)"),
    ] {
        world
            .cloud
            .instead
            .lock()
            .unwrap()
            .push((status, json!({"__type": kind})));
        let outcome = world.read(A, "loki").await;
        assert_eq!(
            format!("{:?}", outcome.unwrap_err()),
            wanted,
            "{status} {kind}"
        );
    }
    world
        .cloud
        .instead
        .lock()
        .unwrap()
        .push((200, json!({"SecretBinary": "czNjcmV0"})));
    assert_eq!(world.read(A, "loki").await, Err(SecretError::Unknown));
    let long = json!({"SecretString": "x".repeat(300_000)});
    world.cloud.instead.lock().unwrap().push((200, long));
    let outcome = world.read(A, "loki").await;
    assert_eq!(
        format!("{:?}", outcome.unwrap_err()),
        "Unavailable(TooLong)"
    );
}

#[tokio::test]
async fn behind_the_cache_two_tenants_ask_once_each() {
    let world = world().await;
    let cached = Cached::new(world.secrets.clone());
    for _ in 0..5 {
        for (tenant, text) in [(A, OURS), (B, THEIRS)] {
            let read = cached.read(reader(tenant), &name("loki")).await.unwrap();
            assert_eq!(read.expose(), text);
        }
    }
    assert_eq!(world.calls().len(), 4);
}

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_credential_token_or_key_is_logged_or_told_whatever_the_level_and_the_outcome() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let world = world().await;
    let mut told = String::new();
    for tenant in [A, B] {
        let credential = world
            .secrets
            .read(reader(tenant), &name("loki"))
            .await
            .unwrap();
        write!(told, "{credential:?} {:?}", world.secrets).unwrap();
    }
    // Both stand-ins repeat in their refusals what they were sent.
    world.cloud.keep(A, "loki", OURS, Some(B));
    let outcome = world.read(A, "loki").await;
    world.issuer.wrong(|claims| claims["aud"] = json!("x"));
    let other = world.read(A, "loki").await;
    let errors = [outcome.unwrap_err(), other.unwrap_err()];
    write!(told, "{errors:?} {} {}", errors[0], errors[1]).unwrap();
    tracing::info!("the log was open");
    drop(guard);

    told += &String::from_utf8_lossy(&log.0.lock().unwrap());
    assert!(told.contains("the log was open"));
    let tokens = world.issuer.given.lock().unwrap().clone();
    assert_eq!(tokens.len(), 4);
    let forbidden = [OURS, THEIRS, "secret/key", "session//token"].map(str::to_owned);
    for text in forbidden.iter().chain(&tokens) {
        assert!(!told.contains(text.as_str()), "{text} was told");
    }
}

#[test]
fn the_session_policy_is_the_one_in_infra() {
    let place = Place {
        region: REGION.to_owned(),
        account: ACCOUNT.to_owned(),
        environment: "prod".to_owned(),
        role: String::new(),
        sts: "https://sts.eu-west-1.amazonaws.com/".parse().unwrap(),
        secrets_manager: "https://secretsmanager.eu-west-1.amazonaws.com/"
            .parse()
            .unwrap(),
    };
    let secret = format!("nightshift/prod/t/{A}/loki");
    let ours: Value = serde_json::from_str(&session_policy(&place, &secret)).unwrap();
    assert_eq!(ours, deployed("tenant-secret-session.json", &secret, ""));
    // STS takes 2048 characters, also of the longest name.
    let longest = format!("nightshift/prod/t/{A}/{}", "x".repeat(63));
    assert!(session_policy(&place, &longest).len() < 2_048);
}
