//! Asking the operators' ports.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Serialize;

/// No or no good answer.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {why}")]
pub struct HttpError {
    url: String,
    why: String,
}

/// A client that waits no longer than three seconds.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()),
        }
    }
}

impl Http {
    /// The text at an address.
    pub async fn text(&self, url: &str) -> Result<String, HttpError> {
        self.send(url, Request::get(url).body(Full::default()))
            .await
    }

    /// Posts JSON.
    pub async fn post(&self, url: &str, body: &impl Serialize) -> Result<(), HttpError> {
        let failed = |why: String| HttpError {
            url: url.to_owned(),
            why,
        };
        let body = serde_json::to_vec(body).map_err(|error| failed(error.to_string()))?;
        let request = Request::post(url).header("content-type", "application/json");
        self.send(url, request.body(Full::new(body.into())))
            .await
            .map(drop)
    }

    async fn send(
        &self,
        url: &str,
        request: Result<Request<Full<Bytes>>, http::Error>,
    ) -> Result<String, HttpError> {
        let failed = |why: String| HttpError {
            url: url.to_owned(),
            why,
        };
        let request = request.map_err(|error| failed(error.to_string()))?;
        let answer = async {
            let response = self.client.request(request).await;
            let response = response.map_err(|error| failed(error.to_string()))?;
            let status = response.status();
            let body = response.into_body().collect().await;
            let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            if status.is_success() {
                Ok(text)
            } else {
                Err(failed(format!("{status} {text}")))
            }
        };
        let limited = tokio::time::timeout(Duration::from_secs(3), answer).await;
        limited.unwrap_or_else(|_elapsed| Err(failed("no answer within 3 s".to_owned())))
    }
}
