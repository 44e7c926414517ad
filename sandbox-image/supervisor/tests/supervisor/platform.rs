//! The identity socket and the gateway. A statement works once, a token for its server only and with a
//! fresh proof by the key that attested.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::{Epoch, scope::Audience};
use nightshift_protocol::{
    Brief,
    attestation::{
        AttestAnswer, AttestRequest, IssuedToken, RefreshAnswer, RefreshRequest, STATEMENT_AUDIENCE,
    },
};
use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{net::UnixListener, task::JoinHandle};

#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) brief: Option<Brief>,
    /// How long tokens live, in milliseconds.
    pub(crate) life_ms: i64,
    /// Answered instead, as long as there are some: status and problem type.
    pub(crate) refuse_attest: Vec<(u16, &'static str)>,
    pub(crate) refuse_refresh: Vec<(u16, &'static str)>,
    /// Statements that are out and were not used yet.
    statements: HashSet<String>,
    pub(crate) statements_issued: usize,
    thumbprint: Option<String>,
    pub(crate) attests: usize,
    pub(crate) refreshes: usize,
    current: HashMap<&'static str, String>,
    /// Every token ever issued.
    pub(crate) issued: Vec<String>,
    /// Answered by the gateway in a server's place, as long as there are some: status and a header.
    pub(crate) away: Vec<(u16, Option<&'static str>)>,
    /// Requests that reached a server: host, headers, body.
    pub(crate) upstream: Vec<(String, HeaderMap, String)>,
    /// Proofs that were used.
    proofs: HashSet<String>,
    /// How far the clock of this platform is from the machine's, in seconds.
    pub(crate) ahead_seconds: i64,
    pub(crate) violations: Vec<String>,
}

pub(crate) const EPOCH: Epoch = Epoch(3);

pub(crate) type Shared = Arc<Mutex<Platform>>;

pub(crate) fn start(identity: &Path, gateway: &Path) -> (Shared, Vec<JoinHandle<()>>) {
    let shared = Arc::new(Mutex::new(Platform {
        brief: None,
        life_ms: 600_000,
        refuse_attest: Vec::new(),
        refuse_refresh: Vec::new(),
        statements: HashSet::new(),
        statements_issued: 0,
        thumbprint: None,
        attests: 0,
        refreshes: 0,
        current: HashMap::new(),
        issued: Vec::new(),
        away: Vec::new(),
        upstream: Vec::new(),
        proofs: HashSet::new(),
        ahead_seconds: 0,
        violations: Vec::new(),
    }));
    let serve = |path: &Path, router: Router| {
        let listener = UnixListener::bind(path).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
    };
    let identities = Router::new().route("/v1/tokens/oidc", post(statement));
    let handles = vec![
        serve(identity, identities.with_state(Arc::clone(&shared))),
        serve(
            gateway,
            Router::new()
                .fallback(route)
                .with_state(Arc::clone(&shared)),
        ),
    ];
    (shared, handles)
}

async fn statement(State(platform): State<Shared>, Json(ask): Json<Value>) -> Response {
    let mut platform = platform.lock().unwrap();
    if ask["aud"] != STATEMENT_AUDIENCE {
        platform
            .violations
            .push(format!("a statement for {}", ask["aud"]));
        return StatusCode::BAD_REQUEST.into_response();
    }
    platform.statements_issued += 1;
    let statement = format!("head.canary-statement-{}.sig", platform.statements_issued);
    platform.statements.insert(statement.clone());
    statement.into_response()
}

async fn route(State(platform): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let host = parts.headers["host"].to_str().unwrap().to_owned();
    let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    if body == "slow" {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    let mut platform = platform.lock().unwrap();
    match (host.as_str(), parts.uri.path()) {
        ("session.test", "/v1/attest") => platform.attest(&body),
        ("session.test", "/v1/refresh") => platform.refresh(&body),
        ("session.test", _) => {
            platform
                .violations
                .push("the session endpoint was asked something else".to_owned());
            StatusCode::NOT_FOUND.into_response()
        }
        _ if !platform.away.is_empty() => {
            let (status, header) = platform.away.remove(0);
            let mut answer = StatusCode::from_u16(status).unwrap().into_response();
            if let Some(header) = header {
                answer.headers_mut().insert(header, "1".parse().unwrap());
            }
            answer
        }
        (_, path) => {
            let url = format!("http://{host}{path}");
            platform.serve(host, parts.method.as_str(), &url, parts.headers, body)
        }
    }
}

fn problem((status, kind): (u16, &str)) -> Response {
    let body = json!({ "type": kind, "title": kind, "status": status, "detail": "no" });
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

impl Platform {
    fn check(&mut self, statement: &str, thumbprint: &str) -> bool {
        let fresh = self.statements.remove(statement);
        if !fresh {
            self.violations.push(format!(
                "statement {statement} is unknown or was used before"
            ));
        }
        let same = self.thumbprint.get_or_insert(thumbprint.to_owned()) == thumbprint;
        if !same || thumbprint.len() != 43 {
            self.violations.push(format!("thumbprint {thumbprint}"));
        }
        fresh && same
    }

    fn attest(&mut self, body: &str) -> Response {
        self.attests += 1;
        let request: AttestRequest = serde_json::from_str(body).unwrap();
        if !self.check(&request.statement, &request.key_thumbprint) {
            return problem((401, "bad-statement"));
        }
        if !self.refuse_attest.is_empty() {
            return problem(self.refuse_attest.remove(0));
        }
        match self.brief.clone() {
            Some(brief) => Json(AttestAnswer {
                brief,
                epoch: EPOCH,
                tokens: self.issue(),
            })
            .into_response(),
            None => problem((409, "not-claimed")),
        }
    }

    fn refresh(&mut self, body: &str) -> Response {
        self.refreshes += 1;
        let request: RefreshRequest = serde_json::from_str(body).unwrap();
        if !self.check(&request.statement, &request.key_thumbprint) || request.epoch != EPOCH {
            return problem((401, "bad-statement"));
        }
        if !self.refuse_refresh.is_empty() {
            return problem(self.refuse_refresh.remove(0));
        }
        Json(RefreshAnswer {
            tokens: self.issue(),
        })
        .into_response()
    }

    #[expect(clippy::disallowed_methods, reason = "tokens expire on the real clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::seconds(self.ahead_seconds)
    }

    fn issue(&mut self) -> Vec<IssuedToken> {
        let issued_at = self.now();
        let expires_at = issued_at + TimeDelta::milliseconds(self.life_ms);
        Audience::ALL
            .iter()
            .map(|audience| {
                let token = format!("eyJ.canary-{}-{}.sig", audience.server(), self.issued.len());
                self.current.insert(audience.server(), token.clone());
                self.issued.push(token.clone());
                IssuedToken {
                    audience: *audience,
                    token,
                    issued_at,
                    expires_at,
                }
            })
            .collect()
    }

    /// The next start is another supervisor, with a key pair of its own.
    pub(crate) fn forget_key(&mut self) {
        self.thumbprint = None;
    }

    /// From now on every token that is out is refused.
    pub(crate) fn expire(&mut self) {
        self.current.clear();
    }

    fn serve(
        &mut self,
        host: String,
        method: &str,
        url: &str,
        headers: HeaderMap,
        body: String,
    ) -> Response {
        let server = host.trim_end_matches(".test");
        let wanted = self.current.get(server).cloned();
        let given: Vec<_> = headers.get_all("authorization").iter().collect();
        let right = wanted.is_some_and(|token| {
            let sent = given == [format!("DPoP {token}").as_str()];
            if sent && let Err(why) = self.check_proof(&headers, method, url, &token) {
                self.violations.push(format!("a proof for {url}: {why}"));
                return false;
            }
            sent
        });
        let answer = format!("served {body}");
        self.upstream.push((host, headers, body));
        if right {
            answer.into_response()
        } else {
            (StatusCode::UNAUTHORIZED, "no").into_response()
        }
    }

    /// By hand, from RFC 9449 §4.3.
    fn check_proof(
        &mut self,
        headers: &HeaderMap,
        method: &str,
        url: &str,
        token: &str,
    ) -> Result<(), &'static str> {
        let proofs: Vec<_> = headers.get_all("dpop").iter().collect();
        let [proof] = proofs[..] else {
            return Err("there is not one");
        };
        let parts: Vec<&str> = proof.to_str().unwrap().split('.').collect();
        let [header, claims, signature] = parts[..] else {
            return Err("it has not three parts");
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let read = |part: &str| serde_json::from_slice::<Value>(&decode(part)).unwrap();
        let message = format!("{header}.{claims}");
        let (header, claims) = (read(header), read(claims));
        let member = |name: &str| header["jwk"][name].as_str().unwrap_or_default().to_owned();
        let (x, y) = (member("x"), member("y"));
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let hash = |text: &str| URL_SAFE_NO_PAD.encode(Sha256::digest(text));
        let point = [vec![4], decode(&x), decode(&y)].concat();
        let key = VerifyingKey::from_sec1_bytes(&point).unwrap();
        let signature = Signature::from_slice(&decode(signature)).unwrap();
        let age = self.now().timestamp() - claims["iat"].as_i64().unwrap();
        let facts = [
            (header["typ"] == "dpop+jwt", "its typ"),
            (header["alg"] == "ES256", "its alg"),
            (header["jwk"].get("d").is_none(), "it shows the private key"),
            (Some(hash(&canonical)) == self.thumbprint, "its key"),
            (claims["htm"] == method, "its method"),
            (claims["htu"] == url, "its URL"),
            (claims["ath"] == hash(token), "its token"),
            ((-2..=5).contains(&age), "its time"),
            (
                key.verify(message.as_bytes(), &signature).is_ok(),
                "its signature",
            ),
            (
                self.proofs.insert(claims["jti"].to_string()),
                "it was used before",
            ),
        ];
        facts
            .into_iter()
            .find(|(holds, _)| !holds)
            .map_or(Ok(()), |(_, why)| Err(why))
    }
}
