//! Asks the language model, and asks again where that can help.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use nightshift_protocol::messages::{ErrorAnswer, MessagesAnswer, MessagesRequest};

use crate::socket::{Answer, Socket};

const LIMIT_BYTES: usize = 16 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_mins(10);
const API_VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// The model gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The conversation is too long for it.
    #[error("the conversation is too long for the model")]
    TooLong,
    /// It refused, and asking again does not change that.
    #[error("the model refused with {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it says.
        detail: String,
    },
    /// It could not be reached for as long as we tried.
    #[error("the model could not be reached: {last}")]
    Unavailable {
        /// What happened last.
        last: String,
    },
}

/// How long to insist.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Requests at most.
    pub attempts: u32,
    /// The first pause; it doubles each time and is drawn between nothing and its full length.
    pub first_pause: Duration,
    /// The longest pause, also where the server asks for a longer one.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 10,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// The gateway to the model.
#[derive(Debug, Clone)]
pub struct Model {
    socket: Socket,
    url: String,
    patience: Patience,
}

enum Attempt {
    Final(ModelError),
    Again {
        last: String,
        wanted_pause: Option<Duration>,
    },
}

impl Model {
    /// The model behind a gateway's base URL.
    #[must_use]
    pub fn new(socket: Socket, base: &str, patience: Patience) -> Self {
        let url = format!("{}/v1/messages", base.trim_end_matches('/'));
        Self {
            socket,
            url,
            patience,
        }
    }

    /// Asks until there is an answer or asking again is pointless.
    pub async fn ask(&self, request: &MessagesRequest) -> Result<MessagesAnswer, ModelError> {
        let json = serde_json::to_vec(request).map_err(|error| ModelError::Unavailable {
            last: error.to_string(),
        })?;
        let mut pause = self.patience.first_pause;
        let mut attempt = 1;
        loop {
            let (last, wanted_pause) = match self.attempt(json.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Attempt::Final(error)) => return Err(error),
                Err(Attempt::Again { last, wanted_pause }) => (last, wanted_pause),
            };
            if attempt >= self.patience.attempts {
                return Err(ModelError::Unavailable { last });
            }
            let drawn = pause.mul_f64(rand::random());
            let wait = wanted_pause
                .unwrap_or_default()
                .max(drawn)
                .min(self.patience.longest_pause);
            tracing::warn!(
                last,
                attempt,
                wait_ms = wait.as_millis(),
                "The model gave no answer"
            );
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(self.patience.longest_pause);
            attempt += 1;
        }
    }

    async fn attempt(&self, json: Vec<u8>) -> Result<MessagesAnswer, Attempt> {
        let again = |last| Attempt::Again {
            last,
            wanted_pause: None,
        };
        let answer = self
            .socket
            .post(&self.url, &[API_VERSION], json, LIMIT_BYTES, TIMEOUT)
            .await
            .map_err(|error| again(error.to_string()))?;
        if answer.status.is_success() {
            return serde_json::from_slice(&answer.body)
                .map_err(|error| again(format!("an answer that is no message: {error}")));
        }
        Err(judge(&answer))
    }
}

fn judge(answer: &Answer) -> Attempt {
    let status = answer.status;
    let detail = serde_json::from_slice::<ErrorAnswer>(&answer.body)
        .map_or_else(|_| String::new(), |body| body.error.message);
    let transient = status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        );
    let told_not_to = answer
        .headers
        .get("x-should-retry")
        .is_some_and(|value| value == "false");
    if transient && !told_not_to {
        let last = format!("{status} {detail}");
        return Attempt::Again {
            last,
            wanted_pause: retry_after(&answer.headers),
        };
    }
    let too_long = status == StatusCode::PAYLOAD_TOO_LARGE
        || (status == StatusCode::BAD_REQUEST && detail.contains("too long"));
    Attempt::Final(if too_long {
        ModelError::TooLong
    } else {
        ModelError::Refused { status, detail }
    })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(http::header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &str)], message: &str) -> Attempt {
        let body =
            serde_json::json!({ "type": "error", "error": { "type": "x", "message": message } });
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        judge(&Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: body.to_string().into(),
        })
    }

    #[test]
    fn what_a_busy_server_asks_for_is_heard() {
        let Attempt::Again { wanted_pause, .. } = judged(429, &[("retry-after", "7")], "") else {
            panic!("expected another attempt");
        };
        assert_eq!(wanted_pause, Some(Duration::from_secs(7)));
        assert!(matches!(
            judged(529, &[], ""),
            Attempt::Again {
                wanted_pause: None,
                ..
            }
        ));
        assert!(matches!(
            judged(500, &[("x-should-retry", "false")], ""),
            Attempt::Final(ModelError::Refused { .. })
        ));
    }

    #[test]
    fn only_a_conversation_that_is_too_long_is_called_that() {
        let too_long = "prompt is too long: 5 tokens > 4 maximum";
        assert!(matches!(
            judged(400, &[], too_long),
            Attempt::Final(ModelError::TooLong)
        ));
        assert!(matches!(
            judged(400, &[], "bad"),
            Attempt::Final(ModelError::Refused { .. })
        ));
    }
}
