//! What an operator sets for the session function.

use std::{path::PathBuf, sync::Arc};

use nightshift_engine::Clock;
use nightshift_lambda::{Environment, SecretError, Secrets};
use nightshift_store::Store;

use crate::{
    Briefing, DiscoveryError, HeldSigner, KeyFileError, SessionState, StatementVerifier,
    signer::NotAKey, statement::check_issuer,
};

/// Where the key is that signs run tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningKey {
    /// In files of this machine.
    File {
        /// The key; made if it is absent.
        path: PathBuf,
        /// The key before that, while its tokens still live.
        previous: Option<PathBuf>,
    },
    /// In secrets, by reference.
    Secret {
        /// The key.
        reference: String,
        /// The key before that, while its tokens still live.
        previous: Option<String>,
    },
}

/// What an operator sets for the session function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// The issuer of machine statements: `https`, or `http` on this machine.
    pub statement_issuer: String,
    /// The `iss` of run tokens.
    pub token_issuer: String,
    /// The key that signs them.
    pub signing_key: SigningKey,
    /// What every agent is told.
    pub briefing: Briefing,
}

/// The session function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The signing key is of no use.
    #[error("the signing key cannot be used")]
    Key(#[from] KeyFileError),
    /// The secret holds no key.
    #[error("the signing key's secret cannot be used")]
    Secret(#[from] NotAKey),
    /// The secret cannot be had.
    #[error(transparent)]
    Unknown(#[from] SecretError),
    /// The issuer of statements is of no use.
    #[error("the issuer of statements cannot be used")]
    Issuer(#[from] DiscoveryError),
}

impl SessionConfig {
    /// Reads `NIGHTSHIFT_STATEMENT_ISSUER`, `NIGHTSHIFT_TOKEN_ISSUER`, `NIGHTSHIFT_SIGNING_KEY` (a file) or
    /// `NIGHTSHIFT_SIGNING_KEY_REF` (a reference to a secret), and optionally either's `_PREVIOUS` and those
    /// of [`Briefing::from_env`].
    pub fn from_env(env: &mut Environment) -> Option<Self> {
        let statement_issuer: Option<String> = env.required("NIGHTSHIFT_STATEMENT_ISSUER");
        let token_issuer = env.required("NIGHTSHIFT_TOKEN_ISSUER");
        let signing_key = SigningKey::from_env(env);
        let briefing = Briefing::from_env(env);
        if let Some(Err(error)) = statement_issuer.as_deref().map(check_issuer) {
            env.reject("NIGHTSHIFT_STATEMENT_ISSUER", error);
        }
        Some(Self {
            statement_issuer: statement_issuer?,
            token_issuer: token_issuer?,
            signing_key: signing_key?,
            briefing,
        })
    }

    /// Opens the key and prepares the verifier. Nothing is asked over the network yet but the key, where it
    /// is kept there.
    pub async fn open(
        self,
        store: Store,
        clock: Arc<dyn Clock>,
        secrets: &dyn Secrets,
    ) -> Result<SessionState, OpenError> {
        let signer = self.signing_key.open(secrets).await?;
        Ok(SessionState {
            store,
            clock,
            verifier: Arc::new(StatementVerifier::new(&self.statement_issuer)?),
            signer: Arc::new(signer),
            issuer: self.token_issuer.into(),
            briefing: Arc::new(self.briefing),
        })
    }
}

impl SigningKey {
    fn from_env(env: &mut Environment) -> Option<Self> {
        let path = env.optional("NIGHTSHIFT_SIGNING_KEY");
        let previous = env.optional("NIGHTSHIFT_SIGNING_KEY_PREVIOUS");
        let reference = env.optional("NIGHTSHIFT_SIGNING_KEY_REF");
        let previous_reference = env.optional("NIGHTSHIFT_SIGNING_KEY_REF_PREVIOUS");
        match (path, reference) {
            (Some(path), None) => Some(Self::File { path, previous }),
            (None, Some(reference)) => Some(Self::Secret {
                reference,
                previous: previous_reference,
            }),
            (Some(_), Some(_)) => {
                let both = "NIGHTSHIFT_SIGNING_KEY_REF is set as well";
                env.reject("NIGHTSHIFT_SIGNING_KEY", both);
                None
            }
            (None, None) => {
                let neither = "it is not set, and neither is NIGHTSHIFT_SIGNING_KEY_REF";
                env.reject("NIGHTSHIFT_SIGNING_KEY", neither);
                None
            }
        }
    }

    async fn open(&self, secrets: &dyn Secrets) -> Result<HeldSigner, OpenError> {
        match self {
            Self::File { path, previous } => Ok(HeldSigner::open(path, previous.as_deref())?),
            Self::Secret {
                reference,
                previous,
            } => {
                let key = secrets.read(reference).await?;
                let previous = match previous {
                    Some(previous) => Some(secrets.read(previous).await?),
                    None => None,
                };
                Ok(HeldSigner::from_pem(&key, previous.as_ref())?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let mut env = Environment::of([("NIGHTSHIFT_STATEMENT_ISSUER", "http://oidc.example")]);
        assert_eq!(SessionConfig::from_env(&mut env), None);
        let error = env.settle().unwrap_err().to_string();
        for name in [
            "NIGHTSHIFT_STATEMENT_ISSUER cannot",
            "NIGHTSHIFT_TOKEN_ISSUER is",
            "NIGHTSHIFT_SIGNING_KEY cannot",
        ] {
            assert!(error.contains(name), "{name}: {error}");
        }
    }
}
