//! Anthropic's API, passed through: our key instead of the run's token, its bytes as they come.

use std::{fmt::Write as _, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use nightshift_mcp_kit::Pending;
use nightshift_protocol::messages::Usage;
use reqwest::Url;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Ask, Provider, ProviderError, Settle,
    breaker::Breaker,
    sse,
    usage::{UsageReader, total},
};
use crate::{config::AnthropicAccount, gateway::FromProvider};

/// Requests for one question, each before the first byte of an answer.
const ATTEMPTS: u32 = 3;
/// The longest pause that the provider may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long the headers of an answer, or the next bytes of it, may take.
const SILENCE: Duration = Duration::from_mins(2);
/// An answer that is not streamed may have this many bytes.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Betas that only change how the model thinks and writes.
const BETAS: &[&str] = &[
    "claude-code-20250219",
    "interleaved-thinking-2025-05-14",
    "context-management-2025-06-27",
    "fine-grained-tool-streaming-2025-05-14",
];

/// Headers of an answer that clients may see.
const ANSWER_HEADERS: &[&str] = &[
    "content-type",
    "request-id",
    "retry-after",
    "x-should-retry",
];

/// Anthropic.
#[derive(Debug)]
pub struct Anthropic {
    client: reqwest::Client,
    messages: Url,
    key: HeaderValue,
    breaker: Breaker,
}

/// The account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableAccount {
    /// The key cannot be a header's value.
    #[error("ANTHROPIC_API_KEY holds characters that a header cannot carry")]
    Key,
    /// The address has no path.
    #[error("ANTHROPIC_BASE_URL is no base of a path")]
    Base,
    /// The HTTP client could not be made.
    #[error("the HTTP client cannot be made")]
    Http(#[source] reqwest::Error),
}

impl Anthropic {
    /// Asks with this account.
    pub fn new(account: &AnthropicAccount) -> Result<Self, UnusableAccount> {
        let mut key =
            HeaderValue::try_from(account.key.expose_secret()).map_err(|_| UnusableAccount::Key)?;
        key.set_sensitive(true);
        let mut messages = account.base.clone();
        messages
            .path_segments_mut()
            .map_err(|()| UnusableAccount::Base)?
            .pop_if_empty()
            .extend(["v1", "messages"]);
        // A second installation is refused and harmless: the first one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(UnusableAccount::Http)?;
        Ok(Self {
            client,
            messages,
            key,
            breaker: Breaker::default(),
        })
    }

    async fn ask(&self, ask: Ask) -> Result<Response, ProviderError> {
        let Ask {
            admitted,
            run,
            beta,
            settle,
        } = ask;
        let stream = admitted.stream;
        let mut body = Value::Object(admitted.body);
        // The provider may tell runs apart, and learns nothing else.
        let digest = Sha256::digest(run.to_string());
        let who = digest
            .iter()
            .take(16)
            .fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
        body["metadata"] = json!({ "user_id": who });
        let upstream = self.insist(&body, allowed_betas(beta.as_ref())).await?;
        let status = upstream.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            // Our key is at fault, not the run's token: a client must not take it for its own.
            tracing::error!(%status, "The provider does not accept the gateway's key");
            return Err(ProviderError::Misconfigured);
        }
        let headers = passed(upstream.headers());
        let mut response = if stream && status.is_success() {
            Response::new(Body::from_stream(relay(upstream.bytes_stream(), settle)))
        } else {
            whole(upstream, settle).await?
        };
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.extensions_mut().insert(FromProvider);
        Ok(response)
    }

    /// Asks until there is an answer, only ever before its first byte.
    async fn insist(
        &self,
        body: &Value,
        betas: Option<HeaderValue>,
    ) -> Result<reqwest::Response, ProviderError> {
        let mut pause = Duration::from_millis(500);
        let mut attempt = 1;
        loop {
            let mut request = self
                .client
                .post(self.messages.clone())
                .header("x-api-key", self.key.clone())
                .header("anthropic-version", "2023-06-01")
                .json(body);
            if let Some(betas) = &betas {
                request = request.header("anthropic-beta", betas.clone());
            }
            let (cause, wanted) = match request.send().await {
                Ok(answer) if !is_transient(answer.status()) => {
                    self.breaker.worked();
                    return Ok(answer);
                }
                Ok(answer) => {
                    let wanted = retry_after(answer.headers());
                    // The client hears of a rate limit as it is, once asking again did not help.
                    if attempt == ATTEMPTS && answer.status() == StatusCode::TOO_MANY_REQUESTS {
                        return Ok(answer);
                    }
                    (format!("it answered {}", answer.status()), wanted)
                }
                Err(error) => (error.without_url().to_string(), None),
            };
            tracing::warn!(attempt, cause, "The model's provider gave no answer");
            if attempt == ATTEMPTS {
                self.breaker.failed();
                return Err(ProviderError::Unreachable { cause });
            }
            tokio::time::sleep(wanted.unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause *= 2;
            attempt += 1;
        }
    }
}

impl Provider for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn is_down(&self) -> bool {
        self.breaker.is_open()
    }

    fn answer(&self, ask: Ask) -> Pending<'_, Result<Response, ProviderError>> {
        Box::pin(self.ask(ask))
    }
}

fn is_transient(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || status.is_server_error()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

fn passed(from: &HeaderMap) -> HeaderMap {
    ANSWER_HEADERS
        .iter()
        .filter_map(|name| Some((HeaderName::from_static(name), from.get(*name)?.clone())))
        .collect()
}

fn allowed_betas(asked: Option<&HeaderValue>) -> Option<HeaderValue> {
    let asked = asked?.to_str().ok()?;
    let allowed: Vec<&str> = asked
        .split(',')
        .map(str::trim)
        .filter(|beta| BETAS.contains(beta))
        .collect();
    (!allowed.is_empty()).then(|| HeaderValue::try_from(allowed.join(",")).ok())?
}

async fn whole(upstream: reqwest::Response, mut settle: Settle) -> Result<Response, ProviderError> {
    let mut body = Vec::new();
    let mut bytes = upstream.bytes_stream();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| ProviderError::Unreachable {
            cause: error.without_url().to_string(),
        })?;
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES {
            return Err(ProviderError::Unreachable {
                cause: "its answer has no end".to_owned(),
            });
        }
    }
    if let Ok(answer) = serde_json::from_slice::<Value>(&body)
        && answer["type"] == json!("message")
    {
        settle.used(
            answer["model"].as_str().map(str::to_owned),
            total(&answer["usage"]),
        );
    }
    Ok(Response::new(Body::from(body)))
}

/// What a stream used is settled when it ends, also when the client leaves before.
struct Metered {
    reader: UsageReader,
    settle: Settle,
}

impl Drop for Metered {
    fn drop(&mut self) {
        if self.reader.usage != Usage::default() {
            self.settle
                .used(self.reader.model.take(), self.reader.usage);
        }
    }
}

/// The bytes as they come. Once the first is out there is no second try: a failure becomes an event.
fn relay(
    bytes: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
    settle: Settle,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static {
    let metered = Metered {
        reader: UsageReader::default(),
        settle,
    };
    stream::unfold(Some((Box::pin(bytes), metered)), |state| async move {
        let (mut bytes, mut metered) = state?;
        match bytes.next().await? {
            Ok(chunk) => {
                metered.reader.take(&chunk);
                Some((Ok(chunk), Some((bytes, metered))))
            }
            Err(error) => {
                tracing::warn!(error = %error.without_url(), "A streamed answer broke off");
                let broken = json!({ "error": {
                    "type": "api_error",
                    "message": "the answer broke off",
                }});
                Some((Ok(sse::event("error", &broken)), None))
            }
        }
    })
}
