//! The claims of a run token: a JWT, ES256, header type `at+jwt`.

use nightshift_domain::{Epoch, InvestigationId, SandboxId, TenantId};
use serde::{Deserialize, Serialize};

/// The longest life a verifier accepts, in seconds.
pub const MAX_LIFE_SECONDS: i64 = 600;

/// The header type of a run token.
pub const TOKEN_TYPE: &str = "at+jwt";

/// What a run token says. A verifier demands every field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunClaims {
    /// Who issued it.
    pub iss: String,
    /// The one server it is for: an [`Audience`](nightshift_domain::scope::Audience) spelling.
    pub aud: String,
    /// `run:` and the investigation.
    pub sub: String,
    /// On whose behalf.
    pub tenant: TenantId,
    /// Which investigation.
    pub investigation: InvestigationId,
    /// From which sandbox.
    pub sandbox: SandboxId,
    /// From which start of it.
    pub epoch: Epoch,
    /// Scope spellings, separated by spaces.
    pub scope: String,
    /// The token's own identity.
    pub jti: String,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Not valid before, seconds since 1970.
    pub nbf: i64,
    /// Not valid after, seconds since 1970.
    pub exp: i64,
    /// The key that the holder can prove to have.
    pub cnf: Confirmation,
}

/// Binds a token to a key pair (RFC 7800).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// RFC 7638 thumbprint of the holder's public key.
    pub jkt: String,
}
