//! How an attacker speaks to a server: over the wire, with whatever headers he likes.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use http::StatusCode;
use nightshift_domain::scope::Audience;
use nightshift_mcp_kit::testing::Holder;
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::free_address;

/// A server where it listens, under the name that sandboxes use.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) audience: Audience,
    pub(crate) host: String,
    pub(crate) at: SocketAddr,
    http: reqwest::Client,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    /// The body; `Null` where it is not JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// Whether a tool did what it was asked.
    pub(crate) fn worked(&self) -> bool {
        self.status.is_success()
            && self.body["result"].is_object()
            && self.body["result"]["isError"] != true
    }

    /// In a few words.
    pub(crate) fn brief(&self) -> String {
        let text: String = self.text.chars().take(90).collect();
        format!("{} {text}", self.status.as_u16())
    }

    /// Ends the case unless an honest request was answered: a server that answers nothing stops
    /// every attack.
    pub(crate) fn honest(self) -> Result<Self> {
        let good = self.status.is_success() && self.body["error"].is_null();
        ensure!(good, "an honest request was refused: {}", self.brief());
        Ok(self)
    }
}

impl Server {
    pub(crate) fn of(audience: Audience) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self {
            audience,
            host: format!("{}.nightshift.internal", audience.server()),
            at: free_address()?,
            http,
        })
    }

    /// The URL that sandboxes use, and that proofs must name.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    /// A request without token and proof.
    pub(crate) fn bare(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().unwrap_or_default();
        self.http
            .request(method, format!("http://{}{path}", self.at))
            .header("host", &self.host)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
    }

    /// A request with a token, and with a good proof of the holder of its key.
    pub(crate) fn proved(&self, method: &str, path: &str, token: &str) -> RequestBuilder {
        let proof = Holder::default().prove(method, &self.url(path), token);
        self.bare(method, path)
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", proof)
    }

    /// A message to the tools, as the supervisor sends it.
    pub(crate) async fn post(&self, token: &str, message: &Value) -> Result<Answer> {
        send(self.proved("POST", "/mcp", token).json(message)).await
    }

    /// Waits until it listens.
    pub(crate) async fn answers(&self) -> Result<()> {
        for _ in 0..250 {
            if let Ok(answer) = send(self.bare("GET", "/healthz")).await
                && answer.status.is_success()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("{} does not answer", self.host)
    }
}

/// Sends it and reads the whole answer.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer> {
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    Ok(Answer {
        status,
        body: serde_json::from_str(&text).unwrap_or(Value::Null),
        text,
    })
}

/// Sends bytes as they are and reads what comes until the end, for at most `patience`.
pub(crate) async fn raw(at: SocketAddr, bytes: &[u8], patience: Duration) -> Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(bytes).await?;
    let mut read = Vec::new();
    let _ = tokio::time::timeout(patience, stream.read_to_end(&mut read)).await;
    Ok(String::from_utf8_lossy(&read).into_owned())
}
