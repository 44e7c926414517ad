//! Passes the harness's requests on to the servers, with the token that the harness does not have and a
//! proof that it is ours.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body as _, Incoming};
use nightshift_domain::scope::Audience;
use nightshift_protocol::{brief::Endpoints, proof::PROOF_HEADER};
use tokio::sync::mpsc;

use crate::{
    http_client::{Body, HttpClient},
    key::Proven,
    logging::causes,
    renewal::Renewal,
    repeat::{Fate, Repeats},
    session::SessionError,
    tokens::Generation,
};

/// Bodies up to this size are kept until the answer is there, so that the request can be repeated
/// with a fresh token, or when its server is back. Larger ones are passed on as they arrive.
const KEEP_BYTES: u64 = 8 * 1024 * 1024;

/// Headers that are about one connection, not about the request.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Which host names the harness may reach, and whose token each gets.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    hosts: HashMap<String, Server>,
}

/// A server that the harness may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Whose token it gets.
    pub audience: Audience,
    /// Scheme, host and port as the brief has them: that is what proofs name, whichever way requests
    /// take from here.
    pub origin: String,
}

impl Routes {
    /// The hosts of a brief's endpoints. One that is no URL gets no route.
    #[must_use]
    pub fn of(endpoints: &Endpoints) -> Self {
        let hosts = [
            (&endpoints.telemetry, Audience::Telemetry),
            (&endpoints.codebase, Audience::Codebase),
            (&endpoints.casebook, Audience::Casebook),
            (&endpoints.llm, Audience::Llm),
        ];
        let server = |url: &str, audience| {
            let url = url.parse::<Uri>().ok()?;
            let host = url.authority()?.as_str().to_lowercase();
            let origin = format!("{}://{host}", url.scheme_str()?);
            Some((host, Server { audience, origin }))
        };
        Self {
            hosts: hosts
                .into_iter()
                .filter_map(|(url, audience)| server(url, audience))
                .collect(),
        }
    }

    /// Which server this host is.
    #[must_use]
    pub fn server(&self, host: &str) -> Option<&Server> {
        self.hosts.get(&host.to_lowercase())
    }
}

/// The way out for the harness.
pub struct Forwarder {
    upstream: HttpClient,
    renewal: Arc<Renewal>,
    over: mpsc::Sender<SessionError>,
}

/// An attempt that brought no server's answer.
struct Failed {
    /// What the harness is told if there is no other attempt.
    told: Response<AnswerBody>,
    fate: Option<Fate>,
}

/// A body that either came from a server or was made here.
pub type AnswerBody = Either<Incoming, Full<Bytes>>;

impl Forwarder {
    /// Passes requests on through `upstream`. What ends the run is sent to `over`.
    #[must_use]
    pub const fn new(
        upstream: HttpClient,
        renewal: Arc<Renewal>,
        over: mpsc::Sender<SessionError>,
    ) -> Self {
        Self {
            upstream,
            renewal,
            over,
        }
    }

    /// Passes one request on, with the token for `server` and a proof in place of any credential it
    /// carries. Where its body is still at hand, a refused token is renewed and the request repeated once, and
    /// one that no server has looked at is repeated until one has.
    pub async fn forward(
        &self,
        host: &str,
        server: &Server,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        let (parts, incoming) = request.into_parts();
        let answer = if incoming
            .size_hint()
            .exact()
            .is_some_and(|size| size <= KEEP_BYTES)
        {
            match incoming.collect().await {
                Ok(whole) => self.insist(&parts, host, server, &whole.to_bytes()).await,
                Err(_) => Err(problem(StatusCode::BAD_REQUEST, "the body did not arrive")),
            }
        } else {
            let once = self
                .attempt(&parts, host, server, Either::Right(incoming))
                .await;
            once.map(|(answer, _)| answer).map_err(|failed| failed.told)
        };
        answer.map_or_else(|refusal| refusal, pass_back)
    }

    async fn insist(
        &self,
        parts: &Parts,
        host: &str,
        server: &Server,
        body: &Bytes,
    ) -> Result<Response<Incoming>, Response<AnswerBody>> {
        let mut repeats = Repeats::none();
        let mut renewed = false;
        loop {
            let whole = Either::Left(Full::new(body.clone()));
            let attempt = self.attempt(parts, host, server, whole).await;
            let fate = match &attempt {
                Ok((answer, _)) => Fate::of_answer(answer, server.audience),
                Err(failed) => failed.fate,
            };
            if fate.is_some_and(|fate| fate.allows(parts))
                && let Some(pause) = repeats.pause()
            {
                tokio::time::sleep(pause).await;
                continue;
            }
            let (answer, generation) = attempt.map_err(|failed| failed.told)?;
            if answer.status() == StatusCode::UNAUTHORIZED && !renewed {
                renewed = true;
                if self.renewed(generation).await {
                    continue;
                }
            }
            tell(host, answer.status(), &repeats);
            return Ok(answer);
        }
    }

    async fn attempt(
        &self,
        parts: &Parts,
        host: &str,
        server: &Server,
        body: Body,
    ) -> Result<(Response<Incoming>, Generation), Failed> {
        let Some(presented) = self.renewal.tokens().present(server.audience) else {
            return Err(Failed::here(
                StatusCode::UNAUTHORIZED,
                "there is no token for this server",
            ));
        };
        let mut outgoing = rewrite(parts, host, body)
            .map_err(|_| Failed::here(StatusCode::BAD_REQUEST, "the request has no proper path"))?;
        let proven = Proven {
            method: outgoing.method(),
            url: &format!("{}{}", server.origin, outgoing.uri().path()),
            token_hash: &presented.hash,
            at: presented.now,
        };
        let proof = self.renewal.key().prove(proven).map_err(|error| {
            tracing::error!(host, error = causes(&error), "Could not prove a request");
            Failed::here(StatusCode::BAD_GATEWAY, "the request could not be proved")
        })?;
        let headers = outgoing.headers_mut();
        headers.insert(header::AUTHORIZATION, presented.authorization);
        headers.insert(PROOF_HEADER, proof);
        match self.upstream.send(outgoing).await {
            Ok(answer) => Ok((answer, presented.generation)),
            Err(error) => {
                tracing::warn!(host, error = causes(&error), "A server did not answer");
                Err(Failed {
                    told: problem(StatusCode::BAD_GATEWAY, "the server did not answer"),
                    fate: Some(Fate::of_error(&error)),
                })
            }
        }
    }

    /// Whether there are fresh tokens after the ones of `refused` were refused.
    async fn renewed(&self, refused: Generation) -> bool {
        match self.renewal.renew(refused).await {
            Ok(()) => true,
            Err(error @ SessionError::Unreachable { .. }) => {
                tracing::warn!(error = %error, "Could not renew the run tokens");
                false
            }
            Err(error) => {
                // Only the first reason counts; a full channel already holds one.
                let _ = self.over.try_send(error);
                false
            }
        }
    }
}

impl Failed {
    /// For a reason that another attempt does not change.
    fn here(status: StatusCode, detail: &str) -> Self {
        Self {
            told: problem(status, detail),
            fate: None,
        }
    }
}

/// What came of a request that took more than its answer.
fn tell(host: &str, status: StatusCode, repeats: &Repeats) {
    if repeats.count > 0 {
        let (repeats, status) = (repeats.count, status.as_u16());
        tracing::info!(
            host,
            repeats,
            status,
            "Repeated a request that no server had looked at"
        );
    }
    if status.is_client_error() {
        tracing::warn!(host, status = status.as_u16(), "A server refused a request");
    }
}

/// The same request for the server: no header of the caller's connection, no credential of the
/// caller's own, and the host that was checked.
fn rewrite(parts: &Parts, host: &str, body: Body) -> Result<Request<Body>, http::Error> {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(parts.method.clone())
        .uri(format!("http://{host}{path}"))
        .body(body)?;
    *request.headers_mut() = without_hop_by_hop(&parts.headers);
    for credential in [header::AUTHORIZATION, header::COOKIE, header::HOST] {
        request.headers_mut().remove(credential);
    }
    request.headers_mut().remove("x-api-key");
    request.headers_mut().remove(PROOF_HEADER);
    Ok(request)
}

fn without_hop_by_hop(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    // `Connection` names further headers that are about the connection only.
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        kept.remove(name);
    }
    kept.remove("keep-alive");
    kept
}

fn pass_back(answer: Response<Incoming>) -> Response<AnswerBody> {
    let (mut parts, body) = answer.into_parts();
    parts.headers = without_hop_by_hop(&parts.headers);
    Response::from_parts(parts, Either::Left(body))
}

/// A refusal of our own: RFC 9457 problem details.
#[must_use]
pub fn problem(status: StatusCode, detail: &str) -> Response<AnswerBody> {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    json(status, "application/problem+json", &body)
}

/// An answer of our own.
#[must_use]
pub fn json(status: StatusCode, kind: &str, body: &serde_json::Value) -> Response<AnswerBody> {
    let mut answer = Response::new(Either::Right(Full::new(Bytes::from(body.to_string()))));
    *answer.status_mut() = status;
    if let Ok(kind) = kind.parse() {
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_out_without_the_callers_credentials_and_connection() {
        let (parts, ()) = Request::post("http://evil.example/mcp?a=b")
            .header("Authorization", "Bearer mine")
            .header("x-api-key", "mine")
            .header("DPoP", "mine")
            .header("Cookie", "mine")
            .header("Host", "evil.example")
            .header("Connection", "close, X-Private")
            .header("X-Private", "1")
            .header("Mcp-Method", "tools/call")
            .body(())
            .unwrap()
            .into_parts();
        let out = rewrite(&parts, "llm.example", Either::Left(Full::default())).unwrap();
        assert_eq!(out.uri(), "http://llm.example/mcp?a=b");
        let left: Vec<_> = out.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["mcp-method"]);
    }

    #[test]
    fn only_the_hosts_of_the_brief_have_a_route() {
        let routes = Routes::of(&Endpoints {
            telemetry: "http://telemetry.example/mcp".to_owned(),
            codebase: "https://codebase.example:8080/mcp".to_owned(),
            casebook: "not a url".to_owned(),
            llm: "http://llm.example".to_owned(),
        });
        let found = |host: &str| {
            let server = routes.server(host)?;
            Some((server.audience, server.origin.as_str()))
        };
        assert_eq!(
            found("Telemetry.example"),
            Some((Audience::Telemetry, "http://telemetry.example"))
        );
        assert_eq!(
            found("codebase.example:8080"),
            Some((Audience::Codebase, "https://codebase.example:8080"))
        );
        assert_eq!(found("codebase.example"), None);
        assert_eq!(found("session.example"), None);
    }
}
