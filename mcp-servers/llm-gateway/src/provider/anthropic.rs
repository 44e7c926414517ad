//! Anthropic's API, passed through: our key instead of the run's token, its bytes as they come.

use std::{fmt::Write as _, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use nightshift_controls::{Control, holds};
use nightshift_http::{
    Answer, Client, Credential, HttpError, Limits, Outgoing, Reach, UnusableCredential,
};
use nightshift_mcp_kit::Pending;
use nightshift_protocol::messages::Usage;
use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Ask, Provider, ProviderError, Settle,
    breaker::Breaker,
    sse,
    usage::{UsageReader, total},
};
use crate::{config::AnthropicAccount, gateway::FromProvider};

/// Requests for one question: one, and one more. Control: `one-retry`.
const ATTEMPTS: u32 = 2;
/// The pause before the second where the provider asks for none.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that the provider may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Times and sizes of an answer. A stream is relayed piece by piece, and no piece is asked for before the
/// last one was taken: what is held is one piece. Control: `relay-bounds`.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    silence: Duration::from_mins(2),
    whole: Some(Duration::from_mins(10)),
    answer_bytes: 16 * 1024 * 1024,
};

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
    client: Client,
    messages: Url,
    key: Credential,
    breaker: Breaker,
}

/// The account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableAccount {
    /// The key cannot be shown at the address.
    #[error("ANTHROPIC_API_KEY cannot be used at ANTHROPIC_BASE_URL")]
    Key(#[from] UnusableCredential),
    /// The address has no path.
    #[error("ANTHROPIC_BASE_URL is no base of a path")]
    Base,
}

impl Anthropic {
    /// Asks with this account.
    pub fn new(account: &AnthropicAccount) -> Result<Self, UnusableAccount> {
        let mut messages = account.base.clone();
        messages
            .path_segments_mut()
            .map_err(|()| UnusableAccount::Base)?
            .pop_if_empty()
            .extend(["v1", "messages"]);
        let key = HeaderName::from_static("x-api-key");
        Ok(Self {
            key: Credential::header(&account.base, key, &account.key)?,
            client: Client::new(Reach::to(&account.base), LIMITS),
            messages,
            breaker: Breaker::default(),
        })
    }

    async fn ask(&self, ask: Ask) -> Result<Response, ProviderError> {
        let Ask {
            admitted,
            run,
            beta,
            mut settle,
        } = ask;
        let stream = admitted.stream;
        let most = Usage {
            input_tokens: admitted.read(),
            output_tokens: admitted.max_tokens,
        };
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
        settle.sent(most);
        let upstream = self
            .insist(&body, allowed_betas(beta.as_ref()), &mut settle)
            .await?;
        let status = upstream.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            && holds(Control::ErrorsTyped)
        {
            settle.not_taken();
            // Our key is at fault, not the run's token: a client must not take it for its own.
            tracing::error!(%status, "The provider does not accept the gateway's key");
            return Err(ProviderError::Misconfigured);
        }
        let headers = passed(upstream.headers());
        let mut response = if stream && status.is_success() {
            let metered = Metered::new(settle, most);
            Response::new(Body::from_stream(relay(upstream.stream(), metered)))
        } else {
            whole(upstream, settle).await?
        };
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.extensions_mut().insert(FromProvider);
        Ok(response)
    }

    fn request(&self, body: &Value, betas: Option<&HeaderValue>) -> Result<Outgoing, HttpError> {
        let version = HeaderName::from_static("anthropic-version");
        let mut request = self
            .client
            .request(Method::POST, self.messages.clone())?
            .credential(&self.key)?
            .header(version, HeaderValue::from_static("2023-06-01"))
            .json(body);
        if let Some(betas) = betas {
            request = request.header(HeaderName::from_static("anthropic-beta"), betas.clone());
        }
        Ok(request)
    }

    /// Asks until there is an answer, only ever before its first byte.
    async fn insist(
        &self,
        body: &Value,
        betas: Option<HeaderValue>,
        settle: &mut Settle,
    ) -> Result<Answer, ProviderError> {
        let mut attempt = 1;
        loop {
            let asked = match self.request(body, betas.as_ref()) {
                Ok(request) => request.send().await,
                Err(error) => Err(error),
            };
            let (cause, wanted) = match asked {
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
                    settle.not_taken();
                    (format!("it answered {}", answer.status()), wanted)
                }
                Err(error) => {
                    if was_never_sent(&error) {
                        settle.not_taken();
                    }
                    (error.causes(), None)
                }
            };
            tracing::warn!(attempt, cause, "The model's provider gave no answer");
            if attempt == ATTEMPTS {
                self.breaker.failed();
                return Err(ProviderError::Unreachable { cause });
            }
            tokio::time::sleep(wanted.unwrap_or(PAUSE).min(LONGEST_PAUSE)).await;
            attempt += 1;
        }
    }
}

/// Whether the provider cannot have seen the request.
fn was_never_sent(error: &HttpError) -> bool {
    match error {
        HttpError::Beyond(_) | HttpError::Elsewhere(_) | HttpError::NoClient(_) => true,
        HttpError::NoAnswer(cause) => cause.is_connect(),
        HttpError::TooLarge { .. } | HttpError::NotJson(_) => false,
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
        .filter(|beta| BETAS.contains(beta) || !holds(Control::ModelBetas))
        .collect();
    (!allowed.is_empty()).then(|| HeaderValue::try_from(allowed.join(",")).ok())?
}

async fn whole(upstream: Answer, mut settle: Settle) -> Result<Response, ProviderError> {
    if !upstream.status().is_success() {
        settle.not_taken();
    }
    let body = upstream
        .bytes()
        .await
        .map_err(|error| ProviderError::Unreachable {
            cause: error.causes(),
        })?;
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
    most: Usage,
}

impl Metered {
    fn new(settle: Settle, most: Usage) -> Self {
        Self {
            reader: UsageReader::default(),
            settle,
            most,
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        let usage = self
            .reader
            .total(self.most.input_tokens, self.most.output_tokens);
        self.settle.used(self.reader.model.take(), usage);
    }
}

/// The bytes as they come. Once the first is out there is no second try: a failure becomes an event.
fn relay(
    bytes: impl Stream<Item = Result<Bytes, HttpError>> + Send + 'static,
    metered: Metered,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static {
    stream::unfold(Some((Box::pin(bytes), metered)), |state| async move {
        let (mut bytes, mut metered) = state?;
        match bytes.next().await? {
            Ok(chunk) => {
                metered.reader.take(&chunk);
                Some((Ok(chunk), Some((bytes, metered))))
            }
            Err(error) => {
                tracing::warn!(error = error.causes(), "A streamed answer broke off");
                let broken = json!({ "error": {
                    "type": "api_error",
                    "message": "the answer broke off",
                }});
                Some((Ok(sse::event("error", &broken)), None))
            }
        }
    })
}
