//! Asks the platform for its signed word on which machine this is.

use std::time::Duration;

use nightshift_protocol::attestation::STATEMENT_AUDIENCE;
use secrecy::SecretString;

use crate::http_client::{ExchangeError, HttpClient};

const URL: &str = "http://localhost/v1/tokens/oidc";
const LIMIT_BYTES: usize = 16 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// The platform did not give a statement.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The identity socket did not answer; it may, later.
    #[error("the identity socket did not answer")]
    Unreachable(#[from] ExchangeError),
    /// It failed; it may work later.
    #[error("the identity socket answered {0}")]
    Failed(http::StatusCode),
    /// It refused.
    #[error("the identity socket refused with {0}")]
    Refused(http::StatusCode),
    /// What it said is no statement.
    #[error("the identity socket's answer is not a signed statement")]
    NotAStatement,
}

impl IdentityError {
    /// Whether asking again may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Failed(_) => true,
            Self::Refused(_) | Self::NotAStatement => false,
        }
    }
}

/// The platform's identity socket.
#[derive(Debug, Clone)]
pub struct Identity {
    client: HttpClient,
}

impl Identity {
    /// The identity service behind a socket.
    #[must_use]
    pub const fn new(client: HttpClient) -> Self {
        Self { client }
    }

    /// A fresh statement for our session endpoint. Each is accepted once, so every request needs
    /// its own.
    pub async fn statement(&self) -> Result<SecretString, IdentityError> {
        let ask = serde_json::json!({ "aud": STATEMENT_AUDIENCE })
            .to_string()
            .into_bytes();
        let (status, body) = self
            .client
            .post_json(URL, ask, LIMIT_BYTES, TIMEOUT)
            .await?;
        if status.is_server_error() {
            return Err(IdentityError::Failed(status));
        }
        if !status.is_success() {
            return Err(IdentityError::Refused(status));
        }
        parse(&body).ok_or(IdentityError::NotAStatement)
    }
}

/// The platform answers with the bare JWT; some versions of it put it in quotes.
fn parse(body: &[u8]) -> Option<SecretString> {
    let text = std::str::from_utf8(body).ok()?.trim().trim_matches('"');
    (text.split('.').count() == 3 && text.bytes().all(|b| b.is_ascii_graphic()))
        .then(|| SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_statement_may_come_in_quotes_and_nothing_else_passes() {
        let read = |body: &str| parse(body.as_bytes()).map(|s| s.expose_secret().to_owned());
        assert_eq!(read("\"a.b.c\"\n"), Some("a.b.c".to_owned()));
        assert_eq!(read("a.b.c"), Some("a.b.c".to_owned()));
        assert_eq!(read("{\"error\": \"no\"}"), None);
        assert_eq!(read("a.b c.d"), None);
    }
}
