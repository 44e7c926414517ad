//! Run tokens signed by keys that KMS holds. This one signs, really, and checks who asks as KMS does.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac};
use nightshift_domain::{Epoch, InvestigationId, SandboxId, TenantId, scope::Audience};
use nightshift_engine::{Clock, SystemClock, attest::RunGrant};
use nightshift_lambda::{Aws, Environment, FileSecrets, Kms};
use nightshift_protocol::RunClaims;
use nightshift_session::{KmsSigner, Signer, SigningKey, SigningKeys, keys::KeysError, mint};
use p256::{
    ecdsa::{Signature, SigningKey as PrivateKey, signature::hazmat::PrehashSigner},
    elliptic_curve::rand_core::OsRng,
    pkcs8::EncodePublicKey,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::world::verified;

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "hunter2";
const SESSION_TOKEN: &str = "temporary";
const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1";

/// What is asked of it, and how it goes wrong.
#[derive(Default)]
struct Service {
    keys: HashMap<String, PrivateKey>,
    /// Refusals to give first: status and name.
    refuse: Vec<(u16, &'static str)>,
    /// Whose key signs, whatever is asked for: an alias that somebody moved.
    moved: Option<PrivateKey>,
    asked: Vec<String>,
}

type Shared = Arc<Mutex<Service>>;

fn refusal(status: u16, kind: &str) -> Response {
    let words = json!({ "__type": format!("com.amazonaws.kms#{kind}"), "message": "no" });
    (StatusCode::from_u16(status).unwrap(), Json(words)).into_response()
}

async fn answer(State(service): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let mut service = service.lock().unwrap();
    if headers["content-type"] != "application/x-amz-json-1.1" {
        return refusal(400, "SerializationException");
    }
    if !is_signed(&headers, &body) {
        return refusal(403, "InvalidSignatureException");
    }
    let target = headers["x-amz-target"].to_str().unwrap().to_owned();
    service.asked.push(target.clone());
    if !service.refuse.is_empty() {
        let (status, kind) = service.refuse.remove(0);
        return refusal(status, kind);
    }
    let request: Value = serde_json::from_slice(&body).unwrap();
    let id = request["KeyId"].as_str().unwrap();
    let Some(key) = service.keys.get(id) else {
        return refusal(400, "NotFoundException");
    };
    match target.as_str() {
        "TrentService.GetPublicKey" => {
            let spki = key.verifying_key().to_public_key_der().unwrap();
            Json(json!({
                "KeyId": ARN,
                "PublicKey": BASE64.encode(spki.as_bytes()),
                "CustomerMasterKeySpec": "ECC_NIST_P256",
                "KeySpec": "ECC_NIST_P256",
                "KeyUsage": "SIGN_VERIFY",
                "SigningAlgorithms": ["ECDSA_SHA_256"],
            }))
            .into_response()
        }
        "TrentService.Sign" => {
            let is_digest = request["MessageType"] == "DIGEST";
            let digest = BASE64.decode(request["Message"].as_str().unwrap()).unwrap();
            if request["SigningAlgorithm"] != "ECDSA_SHA_256" || !is_digest || digest.len() != 32 {
                return refusal(400, "ValidationException");
            }
            let key = service.moved.as_ref().unwrap_or(key);
            let signature: Signature = key.sign_prehash(&digest).unwrap();
            Json(json!({
                "KeyId": ARN,
                "Signature": BASE64.encode(signature.to_der().as_bytes()),
                "SigningAlgorithm": "ECDSA_SHA_256",
            }))
            .into_response()
        }
        _ => refusal(400, "UnknownOperationException"),
    }
}

/// Signature Version 4, computed again from what arrived, by AWS's description of it.
fn is_signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(authorization), Some(at)) = (text("authorization"), text("x-amz-date")) else {
        return false;
    };
    if text("x-amz-security-token") != Some(SESSION_TOKEN) {
        return false;
    }
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(name)?;
        rest.split([',', ' ']).next()
    };
    let (Some(credential), Some(names), Some(signature)) = (
        field("Credential="),
        field("SignedHeaders="),
        field("Signature="),
    ) else {
        return false;
    };
    let day = &at[..8];
    let scope = format!("{day}/eu-west-1/kms/aws4_request");
    if credential != format!("{ACCESS_KEY}/{scope}") {
        return false;
    }
    let must = ["host", "x-amz-date", "x-amz-target", "x-amz-security-token"];
    if !must
        .iter()
        .all(|name| names.split(';').any(|it| it == *name))
    {
        return false;
    }
    let mut canonical = String::new();
    for name in names.split(';') {
        let value = text(name).unwrap_or_default().trim();
        canonical.extend([name, ":", value, "\n"]);
    }
    let body = hex::encode(Sha256::digest(body));
    let request = format!("POST\n/\n\n{canonical}\n{names}\n{body}");
    let request = hex::encode(Sha256::digest(request));
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{request}");
    let mac = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in [day, "eu-west-1", "kms", "aws4_request"] {
        key = mac(&key, part);
    }
    signature == hex::encode(mac(&key, &to_sign))
}

async fn service() -> (Arc<Kms>, Shared) {
    let shared = Shared::default();
    let router = Router::new()
        .route("/", post(answer))
        .with_state(Arc::clone(&shared));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Arc::new(kms_at(endpoint, SECRET)), shared)
}

fn kms_at(endpoint: String, secret: &str) -> Kms {
    let mut env = Environment::of([
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_SESSION_TOKEN", SESSION_TOKEN),
    ]);
    let aws = Aws::from_env(&mut env).unwrap();
    Kms::new(aws, Some(endpoint), Arc::new(SystemClock))
}

fn with_key(service: &Shared, name: &str) {
    let key = PrivateKey::random(&mut OsRng);
    service.lock().unwrap().keys.insert(name.to_owned(), key);
}

fn grant() -> RunGrant {
    RunGrant {
        tenant: TenantId::generate(),
        investigation: InvestigationId::generate(),
        sandbox: SandboxId::generate(),
        epoch: Epoch(1),
    }
}

fn write_set(path: &Path, keys: &Value) {
    fs::write(path, json!({ "keys": keys }).to_string()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

async fn open(path: &Path, kms: Option<Arc<Kms>>) -> Result<SigningKeys, KeysError> {
    let secrets = Arc::new(FileSecrets::new(path.with_extension("none")));
    SigningKeys::open(SigningKey::File(path.to_owned()), secrets, kms).await
}

#[tokio::test]
async fn tokens_signed_by_kms_are_accepted_by_whoever_knows_the_published_key() {
    let (kms, service) = service().await;
    with_key(&service, "alias/tokens");
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("keys.json");
    write_set(
        &path,
        &json!([{ "begins_at": "2026-01-01T00:00:00Z", "kms": "alias/tokens" }]),
    );
    let set = open(&path, Some(kms)).await.unwrap().current().await;
    let now = SystemClock.now();
    let published = json!({ "keys": set.published(now) });

    // A first byte of r or s with its highest bit set takes another byte in DER, a zero one fewer: both
    // come up within a few dozen.
    let grant = grant();
    for _ in 0..40 {
        let tokens = mint(set.signing(now), "https://us.example", &grant, "thumb", now)
            .await
            .unwrap();
        assert_eq!(tokens.len(), Audience::ALL.len());
        for issued in tokens {
            let claims: RunClaims = verified(&issued.token, &published);
            assert_eq!(claims.aud, issued.audience.as_str());
        }
    }
    let asked = &service.lock().unwrap().asked;
    assert_eq!(asked[0], "TrentService.GetPublicKey");
    assert_eq!(asked.len(), 1 + 40 * Audience::ALL.len());
}

#[tokio::test]
async fn a_passing_refusal_is_tried_once_more_and_a_lasting_one_is_not() {
    let (kms, service) = service().await;
    with_key(&service, "alias/tokens");
    let signer = KmsSigner::open(kms, "alias/tokens").await.unwrap();
    let refuse = |refusals: &[(u16, &'static str)]| {
        let mut service = service.lock().unwrap();
        service.refuse = refusals.to_vec();
        service.asked.clear();
    };
    for passing in [(400, "ThrottlingException"), (500, "KMSInternalException")] {
        refuse(&[passing]);
        signer.sign(b"message").await.unwrap();
        refuse(&[passing, passing]);
        assert!(signer.sign(b"message").await.is_err());
        assert_eq!(service.lock().unwrap().asked.len(), 2);
    }
    for lasting in ["AccessDeniedException", "DisabledException"] {
        refuse(&[(400, lasting)]);
        let error = signer.sign(b"message").await.unwrap_err();
        let error = nightshift_engine::causes(&error);
        assert!(error.contains(lasting), "{error}");
        assert_eq!(service.lock().unwrap().asked.len(), 1);
    }
}

#[tokio::test]
async fn a_signature_by_another_key_than_the_published_one_is_not_used() {
    let (kms, service) = service().await;
    with_key(&service, "alias/tokens");
    let signer = KmsSigner::open(kms, "alias/tokens").await.unwrap();
    service.lock().unwrap().moved = Some(PrivateKey::random(&mut OsRng));
    let error = signer.sign(b"message").await.unwrap_err();
    let error = nightshift_engine::causes(&error);
    assert!(error.contains("by another key"), "{error}");
}

#[tokio::test]
async fn this_kms_signs_for_nobody_who_has_not_the_secret() {
    let (kms, service) = service().await;
    with_key(&service, "alias/tokens");
    KmsSigner::open(kms, "alias/tokens").await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(answer)).with_state(service);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let stranger = kms_at(endpoint, "hunter3");
    assert!(!format!("{stranger:?}").contains("hunter3"));
    let error = KmsSigner::open(Arc::new(stranger), "alias/tokens")
        .await
        .unwrap_err();
    let error = nightshift_engine::causes(&error);
    assert!(error.contains("InvalidSignatureException"), "{error}");
}

#[tokio::test]
async fn a_set_whose_key_is_in_a_kms_that_is_not_there_does_not_open() {
    let (kms, _service) = service().await;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("keys.json");
    write_set(
        &path,
        &json!([{ "begins_at": "2026-01-01T00:00:00Z", "kms": "alias/tokens" }]),
    );
    assert!(matches!(open(&path, None).await, Err(KeysError::NoKms)));
    assert!(matches!(
        open(&path, Some(kms)).await,
        Err(KeysError::Kms(_))
    ));
}
