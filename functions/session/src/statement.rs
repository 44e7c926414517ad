//! Verifies the platform's signed statement of which machine is asking.
//!
//! This decides authenticity only. Whether that machine may have anything, and that a statement is
//! accepted once, is decided together with the claim, in one transaction: see the engine.

mod discovery;
mod keys;

pub use discovery::DiscoveryError;
pub(crate) use discovery::check_issuer;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Validation, decode, decode_header};
use nightshift_controls::{Control, holds};
use nightshift_protocol::attestation::{MachineStatement, STATEMENT_AUDIENCE};

use self::keys::IssuerKeys;

/// Clocks may differ by this much.
const LEEWAY: TimeDelta = TimeDelta::seconds(5);
/// The oldest statement we accept. The supervisor asks for a fresh one each time.
const MAX_AGE: TimeDelta = TimeDelta::minutes(5);
/// The longest life of a statement we accept; the platform issues them for ten minutes.
const MAX_LIFE: TimeDelta = TimeDelta::hours(1);
/// The longest statement we look at, in bytes; real ones have about one thousand.
const MAX_BYTES: usize = 8 * 1024;

/// Verifies statements of one issuer.
#[derive(Debug)]
pub struct StatementVerifier {
    issuer: String,
    keys: IssuerKeys,
}

/// The statement is of no use.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// It is not an acceptable statement. The reason is for our log, never for the asker.
    #[error("{0}")]
    Refused(&'static str),
    /// The issuer's keys could not be had, so nothing can be said about it.
    #[error("the issuer's keys could not be read")]
    NoKeys(#[source] DiscoveryError),
}

impl StatementVerifier {
    /// Verifies statements of `issuer`, an `https` URL, or `http` on this machine.
    ///
    /// # Errors
    /// Where the URL is neither.
    pub fn new(issuer: &str) -> Result<Self, DiscoveryError> {
        let issuer = issuer.to_owned();
        Ok(Self {
            keys: IssuerKeys::new(&issuer)?,
            issuer,
        })
    }

    /// The statement's claims, if the issuer signed them for us and their time is now.
    pub async fn verify(
        &self,
        statement: &str,
        now: DateTime<Utc>,
    ) -> Result<MachineStatement, StatementError> {
        use StatementError::Refused;
        if statement.len() > MAX_BYTES {
            return Err(Refused("the statement is too long"));
        }
        if !holds(Control::StatementSignature) {
            let claims =
                taken_at_its_word(statement).ok_or(Refused("the statement is not a JWT"))?;
            self.check(&claims, now).map_err(Refused)?;
            return Ok(claims);
        }
        let header = decode_header(statement).map_err(|_| Refused("the statement is not a JWT"))?;
        if header.crit.is_some() {
            return Err(Refused("the statement demands an extension"));
        }
        // Other headers that carry or point to keys (jwk, jku, x5c, x5u) are never looked at.
        let kid = header.kid.ok_or(Refused("the statement names no key"))?;
        let key = self
            .keys
            .named(&kid)
            .await
            .map_err(StatementError::NoKeys)?;
        let key = key.ok_or(Refused("the issuer has no such key"))?;
        if header.alg != key.algorithm {
            return Err(Refused("the algorithm is not the key's"));
        }

        // The library would ask the machine what time it is and takes one of many audiences, so it
        // checks the signature and the rest is done here.
        let mut validation = Validation::new(key.algorithm);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = decode::<MachineStatement>(statement, &key.decoding, &validation)
            .map_err(|_| Refused("the signature or the claims are not acceptable"))?
            .claims;
        self.check(&claims, now).map_err(Refused)?;
        Ok(claims)
    }

    fn check(&self, claims: &MachineStatement, now: DateTime<Utc>) -> Result<(), &'static str> {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).ok_or("a time is out of range");
        let (issued, begins, ends) = (at(claims.iat)?, at(claims.nbf)?, at(claims.exp)?);
        let facts = [
            (claims.iss == self.issuer, "it is of another issuer"),
            (
                claims.aud == STATEMENT_AUDIENCE || !holds(Control::StatementAudience),
                "it is for another audience",
            ),
            (ends > now - LEEWAY, "it has expired"),
            (begins <= now + LEEWAY, "it is not valid yet"),
            (issued <= now + LEEWAY, "it was issued in the future"),
            (
                issued >= now - MAX_AGE || !holds(Control::StatementAge),
                "it was issued too long ago",
            ),
            (ends - issued <= MAX_LIFE, "it lives too long"),
            (
                !claims.jti.is_empty() && claims.jti.len() <= 200,
                "it has no usable identity",
            ),
            (!claims.machine_id.is_empty(), "it names no machine"),
        ];
        facts
            .into_iter()
            .find(|(holds, _)| !holds)
            .map_or(Ok(()), |(_, why)| Err(why))
    }
}

/// What a verifier reads that does without `statement-signature`.
fn taken_at_its_word(statement: &str) -> Option<MachineStatement> {
    let json = URL_SAFE_NO_PAD.decode(statement.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&json).ok()
}
