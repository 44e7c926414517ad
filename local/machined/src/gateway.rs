//! The only way out of a sandbox: a reverse proxy to a few names, and nothing else.
//!
//! It adds nothing that authenticates. What a request may do, its own token says.

pub(crate) mod socket;

use nightshift_controls::{Control, holds};
use std::{collections::BTreeMap, convert::Infallible, error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{Either, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::{Body, Incoming},
    header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue},
    http::uri::Authority,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixListener,
};

use crate::config::Egress;

/// Bytes a request's body may have.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long connecting to a name may take; it is on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection is kept.
const IDLE_KEPT: Duration = Duration::from_mins(1);
/// What says that nobody has seen the request, so that whoever sent it may do so again.
const NOT_SENT: HeaderName = HeaderName::from_static("x-gateway-not-sent");
/// Headers about one connection rather than about the request.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The way out.
#[derive(Debug)]
pub(crate) struct Gateway {
    client: Client<HttpConnector, Limited<Incoming>>,
    egress: BTreeMap<String, Uri>,
}

type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// Serves a machine's gateway socket until dropped.
pub(crate) async fn serve(gateway: Arc<Gateway>, listener: UnixListener) {
    socket::accept(listener, move |stream| {
        converse(Arc::clone(&gateway), stream)
    })
    .await;
}

/// Answers the requests of one connection.
pub(crate) async fn converse<T: AsyncRead + AsyncWrite + Unpin>(gateway: Arc<Gateway>, stream: T) {
    let answer = service_fn(move |request| {
        let gateway = Arc::clone(&gateway);
        async move { Ok::<_, Infallible>(gateway.answer(request).await) }
    });
    socket::converse(stream, answer).await;
}

impl Gateway {
    /// A way out to these names.
    pub(crate) fn new(egress: &[Egress]) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_KEPT)
            .build(connector);
        let egress = egress
            .iter()
            .map(|to| (to.name.clone(), to.base.clone()))
            .collect();
        Self { client, egress }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if request.method() == Method::CONNECT {
            let text = "tunnels are not offered; send the request itself";
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "connect_refused", text);
        }
        let Some(name) = name_of(&request) else {
            let text = "the request names no host";
            return refuse(StatusCode::BAD_REQUEST, "host_missing", text);
        };
        let anywhere = anywhere(&request);
        let Some(base) = self.egress.get(&name).or(anywhere.as_ref()) else {
            let names: Vec<&str> = self.egress.keys().map(String::as_str).collect();
            let text = format!(
                "`{name}` cannot be reached from here; {} can",
                names.join(", ")
            );
            return refuse(StatusCode::FORBIDDEN, "egress_refused", &text);
        };
        if request.body().size_hint().lower() > BODY_BYTES_MAX as u64 {
            return too_large();
        }
        let Some(request) = redirected(request, &name, base) else {
            let text = "the request's path is not understood";
            return refuse(StatusCode::BAD_REQUEST, "path_invalid", text);
        };
        match self.client.request(request).await {
            Ok(mut response) => {
                strip(response.headers_mut());
                response.headers_mut().remove(NOT_SENT);
                response.map(Either::Left)
            }
            Err(error) if is_too_large(&error) => too_large(),
            Err(error) => {
                tracing::debug!(%error, name, "a name is not reachable");
                let text = format!("`{name}` does not answer");
                let mut answer = refuse(StatusCode::BAD_GATEWAY, "upstream_unreachable", &text);
                if error.is_connect() {
                    let yes = HeaderValue::from_static("1");
                    answer.headers_mut().insert(NOT_SENT, yes);
                }
                answer
            }
        }
    }
}

/// Whom the request is for, without its port.
fn name_of(request: &Request<Incoming>) -> Option<String> {
    let authority = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => request
            .headers()
            .get(HOST)?
            .to_str()
            .ok()?
            .parse::<Authority>()
            .ok()?,
    };
    Some(authority.host().to_ascii_lowercase())
}

/// Where a request may go beside the names that were given: nowhere, with `sandbox-egress`.
fn anywhere(request: &Request<Incoming>) -> Option<Uri> {
    if holds(Control::SandboxEgress) {
        return None;
    }
    let host = request.headers().get(HOST)?.to_str().ok()?;
    format!("http://{host}/").parse().ok()
}

/// The same request, for the place behind the name.
fn redirected(
    request: Request<Incoming>,
    name: &str,
    base: &Uri,
) -> Option<Request<Limited<Incoming>>> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let prefix = base.path().trim_end_matches('/');
    parts.uri = Uri::builder()
        .scheme("http")
        .authority(base.authority()?.clone())
        .path_and_query(format!("{prefix}{path}"))
        .build()
        .ok()?;
    strip(&mut parts.headers);
    parts
        .headers
        .insert(HOST, HeaderValue::from_str(name).ok()?);
    parts.version = hyper::Version::HTTP_11;
    Some(Request::from_parts(
        parts,
        Limited::new(body, BODY_BYTES_MAX),
    ))
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn too_large() -> Answer {
    let text = "a request may have 16 MiB";
    refuse(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", text)
}

fn refuse(status: StatusCode, error: &str, detail: &str) -> Answer {
    let body = json!({ "error": error, "detail": detail }).to_string();
    let mut response = Response::new(Either::Right(Full::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
