//! The session endpoint: a statement in, the brief and tokens out.

use std::time::{Duration, Instant};

use http::StatusCode;
use nightshift_domain::Epoch;
use nightshift_protocol::attestation::{
    AttestAnswer, AttestRequest, RefreshAnswer, RefreshRequest,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    http_client::{ExchangeError, HttpClient},
    identity::{Identity, IdentityError},
    key::ProofKey,
    logging::causes,
    retry::Backoff,
};

/// How long to go on trying while nobody answers.
pub const PATIENCE: Duration = Duration::from_secs(20);

const LIMIT_BYTES: usize = 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// The session endpoint gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The sandbox is ready but nobody claimed it: it gets nothing, and that is right.
    #[error("the sandbox is not claimed")]
    NotClaimed,
    /// This start is over; a later one may be live.
    #[error("this start of the sandbox is over")]
    Superseded,
    /// A refusal that trying again does not change.
    #[error("the session endpoint refused with {status} {kind}: {detail}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The problem's type.
        kind: String,
        /// The problem in words.
        detail: String,
    },
    /// Nobody answered in time.
    #[error("the session endpoint could not be reached within {} s: {last}", .patience.as_secs())]
    Unreachable {
        /// How long we tried.
        patience: Duration,
        /// What happened last.
        last: String,
    },
    /// The platform does not say which machine this is.
    #[error("no statement from the platform")]
    Identity(#[source] IdentityError),
    /// The answer is not what the protocol promises.
    #[error("unreadable answer from the session endpoint")]
    Answer(#[source] serde_json::Error),
}

/// A client of the session endpoint for one run.
pub struct Session {
    http: HttpClient,
    identity: Identity,
    base: String,
    key: ProofKey,
    patience: Duration,
}

enum Attempt {
    Final(SessionError),
    Transient(String),
}

impl Session {
    /// A client of the endpoint at `base`. Makes the run's key pair.
    #[must_use]
    pub fn new(http: HttpClient, identity: Identity, base: String, patience: Duration) -> Self {
        let key = ProofKey::generate();
        Self {
            http,
            identity,
            base,
            key,
            patience,
        }
    }

    /// The run's key pair.
    #[must_use]
    pub const fn key(&self) -> &ProofKey {
        &self.key
    }

    /// Asks for the brief and the first tokens.
    pub async fn attest(&self) -> Result<AttestAnswer, SessionError> {
        self.insist("/v1/attest", |statement| AttestRequest {
            statement: statement.expose_secret().to_owned(),
            key_thumbprint: self.key.thumbprint(),
        })
        .await
    }

    /// Asks for fresh tokens for the run that `epoch` started.
    pub async fn refresh(&self, epoch: Epoch) -> Result<RefreshAnswer, SessionError> {
        self.insist("/v1/refresh", |statement| RefreshRequest {
            statement: statement.expose_secret().to_owned(),
            key_thumbprint: self.key.thumbprint(),
            epoch,
        })
        .await
    }

    /// Posts until there is an answer that counts. Each attempt brings a new statement, because a
    /// statement may have been used up by an attempt whose answer was lost.
    async fn insist<B: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        body: impl Fn(SecretString) -> B,
    ) -> Result<A, SessionError> {
        let started = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(40), Duration::from_secs(2));
        loop {
            let last = match self.attempt(path, &body).await {
                Ok(answer) => {
                    return serde_json::from_slice(&answer).map_err(SessionError::Answer);
                }
                Err(Attempt::Final(error)) => return Err(error),
                Err(Attempt::Transient(last)) => last,
            };
            let delay = backoff.delay();
            if started.elapsed() + delay > self.patience {
                return Err(SessionError::Unreachable {
                    patience: self.patience,
                    last,
                });
            }
            tracing::warn!(
                path,
                last,
                "The session endpoint gave no answer, trying again"
            );
            tokio::time::sleep(delay).await;
        }
    }

    async fn attempt<B: Serialize>(
        &self,
        path: &str,
        body: &impl Fn(SecretString) -> B,
    ) -> Result<Zeroizing<Vec<u8>>, Attempt> {
        let statement = self.identity.statement().await.map_err(|error| {
            if error.is_transient() {
                Attempt::Transient(causes(&error))
            } else {
                Attempt::Final(SessionError::Identity(error))
            }
        })?;
        let json = serde_json::to_vec(&body(statement))
            .map_err(|error| Attempt::Final(SessionError::Answer(error)))?;
        let url = format!("{}{path}", self.base);
        let (status, mut answer) = self
            .http
            .post_json(&url, json, LIMIT_BYTES, TIMEOUT)
            .await
            .map_err(|error: ExchangeError| Attempt::Transient(causes(&error)))?;
        if status.is_success() {
            return Ok(answer);
        }
        let failed = judge(status, &answer);
        answer.zeroize();
        Err(failed)
    }
}

/// The body of a refusal: RFC 9457 problem details.
#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

fn judge(status: StatusCode, body: &[u8]) -> Attempt {
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Attempt::Transient(format!("answered {status}"));
    }
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    // The type may be written as a URI; its last segment is the name.
    let kind = problem
        .kind
        .rsplit(['/', ':'])
        .next()
        .unwrap_or_default()
        .to_owned();
    Attempt::Final(match (status, kind.as_str()) {
        (StatusCode::CONFLICT, "not-claimed") => SessionError::NotClaimed,
        (StatusCode::GONE, _) => SessionError::Superseded,
        _ => SessionError::Refused {
            status,
            kind,
            detail: if problem.detail.is_empty() {
                problem.title
            } else {
                problem.detail
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> String {
        match judge(StatusCode::from_u16(status).unwrap(), body.as_bytes()) {
            Attempt::Final(error) => error.to_string(),
            Attempt::Transient(_) => "transient".to_owned(),
        }
    }

    #[test]
    fn only_a_server_that_cannot_answer_now_is_asked_again() {
        assert_eq!(judged(503, ""), "transient");
        assert_eq!(judged(429, ""), "transient");
        assert_eq!(
            judged(409, r#"{"type":"not-claimed"}"#),
            "the sandbox is not claimed"
        );
        assert_eq!(judged(410, "{}"), "this start of the sandbox is over");
        for (status, kind) in [(409, "already-attested"), (401, "bad-statement"), (404, "")] {
            let refused = judged(status, &format!(r#"{{"type":"{kind}"}}"#));
            assert!(
                refused.contains(kind) && refused.contains("refused"),
                "{refused}"
            );
        }
    }
}
