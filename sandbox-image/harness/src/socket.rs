//! HTTP over the supervisor's socket. A connection for each request: it costs microseconds, and the
//! supervisor keeps the connections that matter.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The URL or a header is malformed.
    #[error("malformed request")]
    Request(#[from] http::Error),
    /// The URL names no host.
    #[error("`{0}` is not a URL with a host")]
    Url(String),
    /// The supervisor does not listen.
    #[error("could not connect to the supervisor")]
    Connect(#[source] std::io::Error),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The answer could not be read, or is too large.
    #[error("unreadable answer: {0}")]
    Unreadable(Box<dyn std::error::Error + Send + Sync>),
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The supervisor's socket.
#[derive(Debug, Clone)]
pub struct Socket {
    path: Arc<Path>,
}

impl Socket {
    /// The socket at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Posts JSON and reads the whole answer, at most `limit` bytes within `timeout`.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, &'static str)],
        json: Vec<u8>,
        limit: usize,
        timeout: Duration,
    ) -> Result<Answer, SocketError> {
        let request = request(url, headers, json)?;
        let exchange = async {
            let stream = UnixStream::connect(&self.path)
                .await
                .map_err(SocketError::Connect)?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let connection = tokio::spawn(connection);
            let answer = sender.send_request(request).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = Limited::new(answer.into_body(), limit)
                .collect()
                .await
                .map_err(SocketError::Unreadable)?
                .to_bytes();
            connection.abort();
            Ok(Answer {
                status,
                headers,
                body,
            })
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| SocketError::TimedOut(timeout))?
    }
}

fn request(
    url: &str,
    headers: &[(&'static str, &'static str)],
    json: Vec<u8>,
) -> Result<Request<Full<Bytes>>, SocketError> {
    let not_a_url = || SocketError::Url(url.to_owned());
    let url: Uri = url.parse().map_err(|_| not_a_url())?;
    let host = url.authority().ok_or_else(not_a_url)?.as_str().to_owned();
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.body(Full::new(Bytes::from(json)))?)
}
