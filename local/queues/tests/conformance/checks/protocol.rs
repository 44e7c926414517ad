//! The AWS JSON protocol itself, below what the SDK shows.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::check::Check;
use crate::peer::Peer;

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        "error-form",
        "an error carries its code in x-amzn-query-error, its shape in __type, and status 400",
        |p| Box::pin(error_form(p)),
    ),
    Check::new(
        "unsigned-request",
        "a request without a signature is refused",
        |p| Box::pin(unsigned(p)),
    ),
    Check::new(
        "unknown-action",
        "an action that does not exist is refused",
        |p| Box::pin(unknown_action(p)),
    ),
    Check::new("malformed-request", "what is not JSON is refused", |p| {
        Box::pin(malformed(p))
    }),
];

const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/sqs/aws4_request, \
                         SignedHeaders=host;x-amz-date, \
                         Signature=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

async fn error_form(peer: &Peer) -> Result<()> {
    let sent = peer
        .client
        .get_queue_url()
        .queue_name(peer.name("never"))
        .send()
        .await;
    let error = sent.err().context("it was accepted")?;
    let raw = error.raw_response().context("no answer")?;
    ensure!(raw.status().as_u16() == 400, "status {}", raw.status());
    let header = raw.headers().get("x-amzn-query-error");
    ensure!(
        header == Some("AWS.SimpleQueueService.NonExistentQueue;Sender"),
        "{header:?}"
    );
    ensure!(
        raw.headers().get("x-amzn-requestid").is_some(),
        "no request id"
    );
    let body: serde_json::Value = serde_json::from_slice(raw.body().bytes().unwrap_or_default())?;
    ensure!(
        body["__type"] == "com.amazonaws.sqs#QueueDoesNotExist",
        "{body}"
    );
    ensure!(
        error.message().is_some_and(|message| !message.is_empty()),
        "no message"
    );
    Ok(())
}

async fn unsigned(peer: &Peer) -> Result<()> {
    let status = post(peer, "ListQueues", "", "{}").await?;
    ensure!(status == 403, "status {status}");
    Ok(())
}

async fn unknown_action(peer: &Peer) -> Result<()> {
    let authorization = format!("Authorization: {SIGNATURE}\r\nX-Amz-Date: 20261122T070000Z\r\n");
    let status = post(peer, "FlyToTheMoon", &authorization, "{}").await?;
    ensure!(status == 400, "status {status}");
    Ok(())
}

async fn malformed(peer: &Peer) -> Result<()> {
    let authorization = format!("Authorization: {SIGNATURE}\r\nX-Amz-Date: 20261122T070000Z\r\n");
    let status = post(peer, "ListQueues", &authorization, "{\"QueueNamePrefix\":").await?;
    ensure!(status == 400, "status {status}");
    Ok(())
}

/// Sends a request by hand and returns the status.
async fn post(peer: &Peer, action: &str, headers: &str, body: &str) -> Result<u16> {
    let address = peer
        .url
        .strip_prefix("http://")
        .context("not http")?
        .trim_end_matches('/');
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AmazonSQS.{action}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).context("no status")?;
    Ok(status.parse()?)
}
