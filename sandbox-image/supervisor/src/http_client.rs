//! HTTP/1.1 over a unix socket, with one pool of kept-alive connections per host name.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

/// A request's body: at hand, or passed on while it arrives.
pub type Body = Either<Full<Bytes>, Incoming>;

/// Why an exchange gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The request could not be written down.
    #[error("malformed request")]
    Request(#[from] http::Error),
    /// Nobody answered, or the connection broke.
    #[error("no answer")]
    NoAnswer(#[source] hyper_util::client::legacy::Error),
    /// The answer took too long.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The answer could not be read, or is too large.
    #[error("unreadable answer: {0}")]
    Unreadable(Box<dyn std::error::Error + Send + Sync>),
}

/// A client of one unix socket.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client<Connector, Body>,
}

impl HttpClient {
    /// A client of the socket at `path`. Connects when it must.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let connector = Connector { path: path.into() };
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_idle_timeout(Duration::from_mins(1))
                .build(connector),
        }
    }

    /// Sends a request and gives the answer as it arrives.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, ExchangeError> {
        self.client
            .request(request)
            .await
            .map_err(ExchangeError::NoAnswer)
    }

    /// Posts JSON and reads the whole answer, at most `limit` bytes within `timeout`. The answer is
    /// overwritten when it is dropped; the connection's own buffer is out of our hands.
    pub async fn post_json(
        &self,
        url: &str,
        json: Vec<u8>,
        limit: usize,
        timeout: Duration,
    ) -> Result<(StatusCode, Zeroizing<Vec<u8>>), ExchangeError> {
        let request = Request::post(url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Either::Left(Full::new(Bytes::from(json))))?;
        let exchange = async {
            let answer = self.send(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), limit)
                .collect()
                .await
                .map_err(ExchangeError::Unreadable)?
                .to_bytes();
            Ok((status, Zeroizing::new(body.to_vec())))
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| ExchangeError::TimedOut(timeout))?
    }
}

#[derive(Debug, Clone)]
struct Connector {
    path: Arc<Path>,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<UnixStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = Arc::clone(&self.path);
        Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
    }
}
