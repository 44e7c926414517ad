//! Asks `session` for the tokens with which AWS lets this server read a tenant's credential.

use std::fmt;

use http::{HeaderValue, StatusCode, header::AUTHORIZATION};
use nightshift_protocol::web_identity::{LendRequest, Lent, WEB_IDENTITY_PATH};
use nightshift_secrets::{CredentialName, Pending, Reader, SecretError, aws::WebIdentity};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

/// The longest answer that is read, in bytes. A token has about one thousand.
const MAX_BYTES: usize = 16 * 1024;

/// Asks at one address, with this server's own secret. The secret is sent there and is never shown.
#[derive(Clone)]
pub struct IdentityClient {
    client: reqwest::Client,
    url: Url,
    credential: HeaderValue,
}

/// The link to AWS's keeper of secrets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableLink {
    /// The secret cannot be a header's value.
    #[error("the secret of this server holds characters that a header cannot carry")]
    Credential,
    /// The HTTP client could not be made.
    #[error(transparent)]
    Client(#[from] nightshift_mcp_kit::casebook::ClientError),
}

impl IdentityClient {
    /// Asks `session`, whose base this is. The client must follow no redirects.
    pub fn new(
        client: reqwest::Client,
        base: &Url,
        secret: &SecretString,
    ) -> Result<Self, UnusableLink> {
        let bearer = format!("Bearer {}", secret.expose_secret());
        let mut credential = HeaderValue::try_from(bearer).map_err(|_| UnusableLink::Credential)?;
        credential.set_sensitive(true);
        let mut url = base.clone();
        url.set_path(WEB_IDENTITY_PATH);
        Ok(Self {
            client,
            url,
            credential,
        })
    }

    async fn ask(
        &self,
        reader: Reader,
        name: &CredentialName,
    ) -> Result<SecretString, SecretError> {
        let asked = LendRequest {
            investigation: reader.run,
            epoch: reader.epoch,
            credential: name.to_string(),
        };
        let request = self.client.post(self.url.clone()).json(&asked);
        // reqwest's own words hold the URL.
        let lost = |_| unavailable("NoWebIdentity");
        let mut answer = request
            .header(AUTHORIZATION, self.credential.clone())
            .send()
            .await
            .map_err(lost)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::FORBIDDEN => return Err(refused("WebIdentityRefused")),
            _ => return Err(unavailable("NoWebIdentity")),
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(unavailable("TooLong"));
            }
            body.extend_from_slice(&chunk);
        }
        let lent: Lent =
            serde_json::from_slice(&body).map_err(|_| unavailable("UnreadableAnswer"))?;
        Ok(lent.token.into())
    }
}

fn unavailable(why: &str) -> SecretError {
    SecretError::Unavailable(nightshift_secrets::Code::of(why))
}

fn refused(why: &str) -> SecretError {
    SecretError::Refused(nightshift_secrets::Code::of(why))
}

impl WebIdentity for IdentityClient {
    fn token<'a>(
        &'a self,
        reader: Reader,
        name: &'a CredentialName,
    ) -> Pending<'a, Result<SecretString, SecretError>> {
        Box::pin(self.ask(reader, name))
    }
}

impl fmt::Debug for IdentityClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityClient")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}
