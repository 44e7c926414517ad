//! How a sandbox proves which machine it is, and what it gets for it.
//!
//! `POST /v1/attest` and `POST /v1/refresh` at the session endpoint. The statement is the
//! platform's own signed word (`POST /v1/tokens/oidc` on `/.fly/api`), so nothing secret needs to
//! be on the machine beforehand.

use chrono::{DateTime, Utc};
use nightshift_domain::{Epoch, scope::Audience};
use serde::{Deserialize, Serialize};

use crate::Brief;

/// The audience that a statement for us must name.
pub const STATEMENT_AUDIENCE: &str = "urn:nightshift:session";

/// Asks for the brief and the first tokens. Answered once per epoch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttestRequest {
    /// The platform's signed statement (a JWT), fresh and single-use.
    pub statement: String,
    /// RFC 7638 thumbprint of the public half of the key pair that the supervisor made in memory.
    pub key_thumbprint: String,
}

/// What an attested sandbox gets.
#[derive(Clone, Serialize, Deserialize)]
pub struct AttestAnswer {
    /// What to do.
    pub brief: Brief,
    /// The start that this is.
    pub epoch: Epoch,
    /// One token per server.
    pub tokens: Vec<IssuedToken>,
}

/// Asks for fresh tokens for a run that goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefreshRequest {
    /// A new statement; each is accepted once.
    pub statement: String,
    /// The thumbprint that was given when attesting.
    pub key_thumbprint: String,
    /// The start that asks.
    pub epoch: Epoch,
}

/// Fresh tokens.
#[derive(Clone, Serialize, Deserialize)]
pub struct RefreshAnswer {
    /// One token per server.
    pub tokens: Vec<IssuedToken>,
}

/// A run token and when it ends. `Debug` does not show it.
#[derive(Clone, Serialize, Deserialize)]
pub struct IssuedToken {
    /// The server it is for.
    pub audience: Audience,
    /// The JWT.
    pub token: String,
    /// When it was issued, by the clock of whoever will verify it and what it is used with. A machine
    /// that was asleep may have another one.
    pub issued_at: DateTime<Utc>,
    /// When it ends; at most ten minutes after it was issued.
    pub expires_at: DateTime<Utc>,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken")
            .field("audience", &self.audience)
            .field("issued_at", &self.issued_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The claims of the platform's statement that we use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachineStatement {
    /// The platform's issuer for our organisation.
    pub iss: String,
    /// Whom the statement is for: [`STATEMENT_AUDIENCE`].
    pub aud: String,
    /// The app that the machine belongs to.
    pub app_name: String,
    /// The machine.
    pub machine_id: String,
    /// The version of its configuration.
    pub machine_version: String,
    /// The digest of the image it runs, `sha256:…`.
    pub image_digest: String,
    /// The statement's own identity; accepted once.
    pub jti: String,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Not valid before, seconds since 1970.
    pub nbf: i64,
    /// Not valid after, seconds since 1970.
    pub exp: i64,
}
