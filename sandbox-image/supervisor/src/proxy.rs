//! The agent socket: where the harness finds the servers and the agent's shell.

use std::{convert::Infallible, sync::Arc};

use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixListener;

use crate::{
    forward::{AnswerBody, Forwarder, Routes, problem},
    peer::Harness,
    shell::{self, Shell},
};

/// The host name under which the supervisor itself answers.
pub const SUPERVISOR_HOST: &str = "supervisor.local";

/// What the harness may reach.
pub struct Proxy {
    /// Who may ask at all.
    pub harness: Harness,
    /// The servers.
    pub routes: Routes,
    /// The way to them.
    pub forwarder: Forwarder,
    /// The agent's shell.
    pub shell: Arc<Shell>,
}

impl Proxy {
    /// Serves the socket for as long as it is polled.
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(error = %error, "Could not accept on the agent socket");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    continue;
                }
            };
            if !self.harness.is(&stream) {
                tracing::warn!("Closed a connection that is not the harness's");
                continue;
            }
            let proxy = Arc::clone(&self);
            tokio::spawn(async move {
                let answer = service_fn(move |request| {
                    let proxy = Arc::clone(&proxy);
                    async move { Ok::<_, Infallible>(proxy.answer(request).await) }
                });
                // An error here is the harness going away mid-request; there is nobody to tell.
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let Some(host) = host_of(&request) else {
            return problem(
                StatusCode::BAD_REQUEST,
                "the request does not name one host",
            );
        };
        if host == SUPERVISOR_HOST {
            return match (request.method(), request.uri().path()) {
                (&Method::POST, "/v1/shell") => shell::answer(&self.shell, request).await,
                _ => problem(
                    StatusCode::NOT_FOUND,
                    "the supervisor has only POST /v1/shell",
                ),
            };
        }
        if let Some(server) = self.routes.server(&host) {
            return self.forwarder.forward(&host, server, request).await;
        }
        tracing::warn!(host, "Refused a host that the brief does not name");
        problem(StatusCode::FORBIDDEN, "the brief does not name this host")
    }
}

/// The one host that a request is for. A `Host` header and an absolute URI must not disagree.
fn host_of<B>(request: &Request<B>) -> Option<String> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let header = hosts.next().and_then(|value| value.to_str().ok());
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    match (header, authority, hosts.next()) {
        (Some(one), Some(other), None) if one.eq_ignore_ascii_case(other) => Some(one),
        (Some(one), None, None) | (None, Some(one), None) => Some(one),
        _ => None,
    }
    .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(uri: &str, hosts: &[&str]) -> Option<String> {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header("Host", *host);
        }
        host_of(&request.body(()).unwrap())
    }

    #[test]
    fn a_request_is_for_exactly_one_host() {
        assert_eq!(
            host("/mcp", &["LLM.example"]).as_deref(),
            Some("llm.example")
        );
        assert_eq!(
            host("http://a.example/", &["a.example"]).as_deref(),
            Some("a.example")
        );
        assert_eq!(host("http://a.example/", &["b.example"]), None);
        assert_eq!(host("/", &["a.example", "b.example"]), None);
        assert_eq!(host("/", &[]), None);
    }
}
