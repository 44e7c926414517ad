//! Tenants' credentials in AWS Secrets Manager, read with rights that hold for one secret of one tenant.
//!
//! The process has no rights of its own. For each read our control plane signs a token that says for which tenant
//! and run it is; STS gives short credentials that carry the tenant as a tag, narrowed by a session policy to the
//! one secret; the role's policy wants the secret's name and its tag to be that tenant's. So whoever takes
//! the process over reads the credentials of the tenants whose live runs reach it, and no others: control
//! `tenant-session`.

mod policy;
mod sigv4;
mod sts;
mod value;

use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::Url;
use secrecy::SecretString;

use crate::{Code, Credential, CredentialName, Pending, Reader, SecretError, Secrets};

pub use policy::session_policy;
pub use sigv4::{Keys, Signature, sign};

/// The only audience that our control plane's tokens for AWS have.
pub const AUDIENCE: &str = "sts.amazonaws.com";
/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes. A secret has at most 64 KiB.
const MAX_BYTES: usize = 256 * 1024;

/// Tells the time, which signatures carry.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> DateTime<Utc>;
}

/// Gives tokens that our control plane signed, for one credential of one live run of one tenant.
pub trait WebIdentity: Send + Sync {
    /// A token whose session tags name the reader's tenant and run, and the credential.
    fn token<'a>(
        &'a self,
        reader: Reader,
        name: &'a CredentialName,
    ) -> Pending<'a, Result<SecretString, SecretError>>;
}

/// Where AWS is, and what our secrets and our role are called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The region: `eu-west-1`.
    pub region: String,
    /// The account: twelve digits.
    pub account: String,
    /// The installation, as it stands in secrets' names: `prod`.
    pub environment: String,
    /// The role that reads tenants' secrets, by its ARN.
    pub role: String,
    /// STS of the region, or a stand-in for it.
    pub sts: Url,
    /// Secrets Manager of the region, or a stand-in for it.
    pub secrets_manager: Url,
}

impl Place {
    /// What a secret is called.
    fn secret_name(&self, reader: Reader, name: &CredentialName) -> String {
        let tenant = reader.tenant.as_uuid();
        format!("nightshift/{}/t/{tenant}/{name}", self.environment)
    }
}

/// Reads from AWS Secrets Manager. Each read costs two calls; put a [`Cached`](crate::Cached) in front.
#[derive(Clone)]
pub struct AwsSecrets {
    place: Arc<Place>,
    http: reqwest::Client,
    identity: Arc<dyn WebIdentity>,
    clock: Arc<dyn Clock>,
}

impl AwsSecrets {
    /// Reads at `place` with tokens of `identity`. The HTTP client must follow no redirects.
    #[must_use]
    pub fn new(
        place: Place,
        http: reqwest::Client,
        identity: Arc<dyn WebIdentity>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            place: Arc::new(place),
            http,
            identity,
            clock,
        }
    }

    async fn fetch(
        &self,
        reader: Reader,
        name: &CredentialName,
    ) -> Result<Credential, SecretError> {
        let token = self.identity.token(reader, name).await?;
        let secret = self.place.secret_name(reader, name);
        let policy = session_policy(&self.place, &secret);
        let keys = self.assume(reader, &token, &policy).await?;
        self.value(&secret, &keys).await
    }
}

impl Secrets for AwsSecrets {
    fn read<'a>(
        &'a self,
        reader: Reader,
        name: &'a CredentialName,
    ) -> Pending<'a, Result<Credential, SecretError>> {
        Box::pin(self.fetch(reader, name))
    }
}

impl fmt::Debug for AwsSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSecrets")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// The status and body of an answer, however it was meant; never more than [`MAX_BYTES`] of it.
async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), SecretError> {
    // reqwest's own words hold the URL and what a stranger answered.
    let lost = |_| SecretError::Unavailable(Code::of("NoAnswer"));
    let mut response = request.timeout(PATIENCE).send().await.map_err(lost)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(SecretError::Unavailable(Code::of("TooLong")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status().as_u16(), body))
}

/// What a refusal with this status and code means for whoever asked.
fn refusal(status: u16, code: &str) -> SecretError {
    match (status, code) {
        (_, "ResourceNotFoundException") => SecretError::Unknown,
        (429 | 500.., _) | (_, "ThrottlingException" | "Throttling" | "IDPCommunicationError") => {
            SecretError::Unavailable(Code::of(code))
        }
        _ => SecretError::Refused(Code::of(code)),
    }
}
