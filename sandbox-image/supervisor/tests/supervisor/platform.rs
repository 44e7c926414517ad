//! The identity socket and the gateway. A statement works once, a token for its server only.

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
use chrono::{TimeDelta, Utc};
use nightshift_domain::{Epoch, scope::Audience};
use nightshift_protocol::{
    Brief,
    attestation::{
        AttestAnswer, AttestRequest, IssuedToken, RefreshAnswer, RefreshRequest, STATEMENT_AUDIENCE,
    },
};
use serde_json::{Value, json};
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
    /// Requests that reached a server: host, headers, body.
    pub(crate) upstream: Vec<(String, HeaderMap, String)>,
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
        upstream: Vec::new(),
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
        _ => platform.serve(host, parts.headers, body),
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
    fn issue(&mut self) -> Vec<IssuedToken> {
        let expires_at = Utc::now() + TimeDelta::milliseconds(self.life_ms);
        Audience::ALL
            .iter()
            .map(|audience| {
                let token = format!("eyJ.canary-{}-{}.sig", audience.server(), self.issued.len());
                self.current.insert(audience.server(), token.clone());
                self.issued.push(token.clone());
                IssuedToken {
                    audience: *audience,
                    token,
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

    fn serve(&mut self, host: String, headers: HeaderMap, body: String) -> Response {
        let server = host.trim_end_matches(".test");
        let wanted = self
            .current
            .get(server)
            .map(|token| format!("Bearer {token}"));
        let given: Vec<_> = headers.get_all("authorization").iter().collect();
        let right = wanted.is_some_and(|wanted| given == [wanted.as_str()]);
        let answer = format!("served {body}");
        self.upstream.push((host, headers, body));
        if right {
            answer.into_response()
        } else {
            (StatusCode::UNAUTHORIZED, "no").into_response()
        }
    }
}
