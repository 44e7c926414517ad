//! Secrets Manager as its protocol describes it, on this machine.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;
use crate::Environment;

#[derive(Debug, Clone, Default)]
struct Service {
    asked: Arc<Mutex<Vec<String>>>,
}

async fn answer(State(service): State<Service>, headers: HeaderMap, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(headers["x-amz-target"], "secretsmanager.GetSecretValue");
    let signed = headers["authorization"].to_str().unwrap();
    assert!(signed.contains("/eu-west-1/secretsmanager/aws4_request"));
    let name = request["SecretId"].as_str().unwrap().to_owned();
    service.asked.lock().unwrap().push(name.clone());
    let kind = |status: u16, kind: &str| {
        let words = json!({"__type": kind, "message": "no"});
        (StatusCode::from_u16(status).unwrap(), Json(words)).into_response()
    };
    match name.as_str() {
        "nightshift/api/token" => Json(json!({
            "ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nightshift/api/token-AbCdEf",
            "Name": name,
            "SecretString": "s3cret",
        }))
        .into_response(),
        "nightshift/binary" => Json(json!({"Name": name, "SecretBinary": "czNjcmV0"})).into_response(),
        "nightshift/forbidden" => kind(400, "AccessDeniedException"),
        _ => kind(400, "ResourceNotFoundException"),
    }
}

async fn manager() -> (SecretsManager, Service) {
    let service = Service::default();
    let router = Router::new()
        .route("/", post(answer))
        .with_state(service.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut env = Environment::of([
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ]);
    let aws = Aws::from_env(&mut env).unwrap();
    let manager = SecretsManager::new(aws, "nightshift/".to_owned(), Some(endpoint));
    (manager, service)
}

#[tokio::test]
async fn a_reference_is_a_name_behind_our_prefix_and_is_asked_for_once() {
    let (secrets, service) = manager().await;

    for _ in 0..3 {
        let secret = secrets.read("api/token").await.unwrap();
        assert_eq!(secret.expose_secret(), "s3cret");
    }

    assert_eq!(*service.asked.lock().unwrap(), ["nightshift/api/token"]);
    let shown = format!("{secrets:?}");
    assert!(
        !shown.contains("s3cret") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_secret_is_asked_for_again_when_it_is_too_old() {
    let (secrets, service) = manager().await;
    secrets.read("api/token").await.unwrap();
    for (at, _) in secrets.cache.lock().unwrap().values_mut() {
        *at -= MAX_AGE;
    }
    secrets.read("api/token").await.unwrap();
    assert_eq!(service.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_not_there_is_told_apart_from_what_we_may_not_have() {
    let (secrets, _) = manager().await;
    for unknown in ["nobody", "binary"] {
        let error = secrets.read(unknown).await.unwrap_err();
        assert!(
            matches!(error, SecretError::Unknown(_)),
            "{unknown}: {error}"
        );
    }
    let error = secrets.read("forbidden").await.unwrap_err();
    assert!(
        matches!(&error, SecretError::Refused { why, .. } if why.contains("AccessDenied")),
        "{error}"
    );
}
