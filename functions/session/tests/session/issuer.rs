//! An identity service on a real socket, with its keys and habits under the test's control.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use hmac::{Hmac, Mac};
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer},
    elliptic_curve::rand_core::OsRng,
};
use serde_json::{Value, json};
use sha2::Sha256;

/// The service.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) url: String,
    state: Arc<Mutex<Keys>>,
}

#[derive(Default)]
struct Keys {
    /// Every key pair it ever made.
    pairs: BTreeMap<String, SigningKey>,
    /// Those it publishes.
    published: Vec<String>,
    /// More entries of its key set, as they are.
    extra: Vec<Value>,
    down: bool,
    reads: usize,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self {
            url,
            state: Arc::default(),
        };
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        issuer.publish("first");
        issuer
    }

    /// Makes a key without telling anyone.
    pub(crate) fn make(&self, kid: &str) {
        let pair = SigningKey::random(&mut OsRng);
        self.state
            .lock()
            .unwrap()
            .pairs
            .insert(kid.to_owned(), pair);
    }

    /// Makes a key and publishes it beside the others.
    pub(crate) fn publish(&self, kid: &str) {
        self.make(kid);
        self.state.lock().unwrap().published.push(kid.to_owned());
    }

    /// Publishes something else beside the keys.
    pub(crate) fn publish_raw(&self, entry: Value) {
        self.state.lock().unwrap().extra.push(entry);
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// How often its keys were read.
    pub(crate) fn reads(&self) -> usize {
        self.state.lock().unwrap().reads
    }

    /// Signs claims as they are, under a header as it is.
    pub(crate) fn sign_raw(&self, kid: &str, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let state = self.state.lock().unwrap();
        let signature: Signature = state.pairs[kid].sign(message.as_bytes());
        format!("{message}.{}", B64.encode(signature.to_bytes()))
    }

    /// A statement as it should be.
    pub(crate) fn sign(&self, kid: &str, claims: &Value) -> String {
        self.sign_raw(
            kid,
            &json!({"alg": "ES256", "typ": "JWT", "kid": kid}),
            claims,
        )
    }

    /// The public half of a key, as published.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        public(kid, &self.state.lock().unwrap().pairs[kid])
    }
}

/// A token without a signature, or with an HMAC under `secret`.
pub(crate) fn forge(header: &Value, claims: &Value, secret: Option<&[u8]>) -> String {
    let message = message(header, claims);
    let signature = secret.map_or_else(Vec::new, |secret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(message.as_bytes());
        mac.finalize().into_bytes().to_vec()
    });
    format!("{message}.{}", B64.encode(signature))
}

fn message(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        B64.encode(header.to_string()),
        B64.encode(claims.to_string())
    )
}

fn public(kid: &str, pair: &SigningKey) -> Value {
    let point = pair.verifying_key().to_encoded_point(false);
    let coordinate = |bytes: Option<&p256::FieldBytes>| B64.encode(&bytes.unwrap()[..]);
    json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
           "x": coordinate(point.x()), "y": coordinate(point.y())})
}

async fn configuration(State(issuer): State<Issuer>) -> impl IntoResponse {
    if issuer.state.lock().unwrap().down {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let url = &issuer.url;
    Json(json!({"issuer": url, "jwks_uri": format!("{url}/keys")})).into_response()
}

async fn keys(State(issuer): State<Issuer>) -> impl IntoResponse {
    let mut state = issuer.state.lock().unwrap();
    state.reads += 1;
    let mut keys: Vec<Value> = state
        .published
        .iter()
        .map(|kid| public(kid, &state.pairs[kid]))
        .collect();
    keys.extend(state.extra.iter().cloned());
    Json(json!({ "keys": keys })).into_response()
}
