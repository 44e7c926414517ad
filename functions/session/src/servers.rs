//! Which servers may have web identities: those that read tenants' systems, each with a secret of its own.

use std::{fmt, sync::Arc};

use nightshift_domain::scope::Audience;
use nightshift_lambda::{SecretError, Secrets};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A secret that is shorter could be guessed.
const MIN_SECRET_BYTES: usize = 16;
/// The servers that read tenants' systems.
const READERS: [Audience; 2] = [Audience::Telemetry, Audience::Codebase];

/// The servers' secrets, kept as one secret: `telemetry=SECRET,codebase=SECRET`. A server may have several, for
/// a change without a pause.
pub struct Servers {
    reference: String,
    secrets: Arc<dyn Secrets>,
}

/// The servers' secrets cannot be used. Never shows one.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    /// They cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// They are not written as they should be.
    #[error("the servers' secrets are of no use: {0}")]
    Unusable(&'static str),
}

impl Servers {
    /// Those behind `reference`, read anew as often as `secrets` does.
    #[must_use]
    pub fn new(reference: String, secrets: Arc<dyn Secrets>) -> Self {
        Self { reference, secrets }
    }

    /// The server that this secret belongs to. Takes as long for a wrong secret as for a right one: every
    /// known one is compared, by digests of one length.
    pub(crate) async fn of(&self, presented: &str) -> Result<Option<Audience>, ServersError> {
        let text = self.secrets.read(&self.reference).await?;
        let presented = Sha256::digest(presented.as_bytes());
        let mut found = None;
        for (server, secret) in known(&text)? {
            let known = Sha256::digest(secret.as_bytes());
            if bool::from(presented.ct_eq(&known)) {
                found = Some(server);
            }
        }
        Ok(found)
    }
}

fn known(text: &SecretString) -> Result<Vec<(Audience, &str)>, ServersError> {
    let mut known: Vec<(Audience, &str)> = Vec::new();
    for pair in text.expose_secret().trim().split(',') {
        let (name, secret) = pair
            .split_once('=')
            .ok_or(ServersError::Unusable("expected NAME=SECRET,NAME=SECRET"))?;
        let server = READERS.into_iter().find(|server| server.server() == name);
        let server = server.ok_or(ServersError::Unusable("a name is no server's"))?;
        if secret.len() < MIN_SECRET_BYTES {
            return Err(ServersError::Unusable(
                "a secret has less than 16 characters",
            ));
        }
        if known
            .iter()
            .any(|(other, same)| *other != server && *same == secret)
        {
            // Two servers with one secret could pass for each other.
            return Err(ServersError::Unusable("two servers have one secret"));
        }
        known.push((server, secret));
    }
    Ok(known)
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef-one";
    const TWO: &str = "0123456789abcdef-two";

    #[test]
    fn lists_that_would_weaken_the_door_are_refused_and_never_shown() {
        let both = format!("telemetry={ONE},codebase={TWO}").into();
        assert_eq!(
            known(&both).unwrap(),
            [(Audience::Telemetry, ONE), (Audience::Codebase, TWO)]
        );
        for (bad, why) in [
            (String::new(), "NAME=SECRET"),
            ("telemetry".to_owned(), "NAME=SECRET"),
            (format!("llm={ONE}"), "no server's"),
            (format!("casebook={ONE}"), "no server's"),
            ("telemetry=tiny-secret".to_owned(), "16 characters"),
            (format!("telemetry={ONE},codebase={ONE}"), "one secret"),
        ] {
            let error = known(&bad.clone().into()).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
            assert!(!error.contains(ONE) && !error.contains("tiny"), "{error}");
        }
    }
}
