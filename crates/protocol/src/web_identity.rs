//! How a server asks `session` for a token with which AWS lets it read one credential of one tenant.
//!
//! `POST /v1/web-identity` with [`LendRequest`] and the server's own secret as a bearer token answers [`Lent`], or
//! `403` whatever the reason is.

use nightshift_domain::{Epoch, InvestigationId};
use serde::{Deserialize, Serialize};

/// Where it is asked.
pub const WEB_IDENTITY_PATH: &str = "/v1/web-identity";
/// The type of these tokens. That of run tokens is another one, so neither passes for the other.
pub const WEB_IDENTITY_TYPE: &str = "JWT";
/// Their only audience.
pub const WEB_IDENTITY_AUDIENCE: &str = "sts.amazonaws.com";
/// The claim that holds a session's tags, as AWS spells it.
pub const TAGS_CLAIM: &str = "https://aws.amazon.com/tags";
/// How long such a token lives at most, in seconds.
pub const WEB_IDENTITY_SECONDS: i64 = 300;

/// Asks for a token. Whose credential it is follows from the run; no request says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LendRequest {
    /// The run that the credential is for.
    pub investigation: InvestigationId,
    /// The start of it that works.
    pub epoch: Epoch,
    /// The credential, as the tenant's connection names it.
    pub credential: String,
}

/// A token for AWS. `Debug` does not show it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Lent {
    /// The JWT.
    pub token: String,
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lent").finish_non_exhaustive()
    }
}
