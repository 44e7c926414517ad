//! What an operator sets for the session function.

use std::{path::PathBuf, sync::Arc};

use nightshift_engine::Clock;
use nightshift_lambda::Environment;
use nightshift_store::Store;

use crate::{
    Briefing, DiscoveryError, FileSigner, KeyFileError, SessionState, StatementVerifier,
    statement::check_issuer,
};

/// What an operator sets for the session function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// The issuer of machine statements: `https`, or `http` on this machine.
    pub statement_issuer: String,
    /// The `iss` of run tokens.
    pub token_issuer: String,
    /// The file of the signing key; made if it is absent.
    pub signing_key: PathBuf,
    /// The file of the signing key before that, while its tokens still live.
    pub previous_key: Option<PathBuf>,
    /// What every agent is told.
    pub briefing: Briefing,
}

/// The session function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The signing key is of no use.
    #[error("the signing key cannot be used")]
    Key(#[from] KeyFileError),
    /// The issuer of statements is of no use.
    #[error("the issuer of statements cannot be used")]
    Issuer(#[from] DiscoveryError),
}

impl SessionConfig {
    /// Reads `NIGHTSHIFT_STATEMENT_ISSUER`, `NIGHTSHIFT_TOKEN_ISSUER`, `NIGHTSHIFT_SIGNING_KEY`,
    /// and optionally `NIGHTSHIFT_SIGNING_KEY_PREVIOUS` and those of [`Briefing::from_env`].
    pub fn from_env(env: &mut Environment) -> Option<Self> {
        let statement_issuer: Option<String> = env.required("NIGHTSHIFT_STATEMENT_ISSUER");
        let token_issuer = env.required("NIGHTSHIFT_TOKEN_ISSUER");
        let signing_key = env.required("NIGHTSHIFT_SIGNING_KEY");
        let previous_key = env.optional("NIGHTSHIFT_SIGNING_KEY_PREVIOUS");
        let briefing = Briefing::from_env(env);
        if let Some(Err(error)) = statement_issuer.as_deref().map(check_issuer) {
            env.reject("NIGHTSHIFT_STATEMENT_ISSUER", error);
        }
        Some(Self {
            statement_issuer: statement_issuer?,
            token_issuer: token_issuer?,
            signing_key: signing_key?,
            previous_key,
            briefing,
        })
    }

    /// Opens the key and prepares the verifier. Nothing is asked over the network yet.
    pub fn open(self, store: Store, clock: Arc<dyn Clock>) -> Result<SessionState, OpenError> {
        let signer = FileSigner::open(&self.signing_key, self.previous_key.as_deref())?;
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
            "NIGHTSHIFT_SIGNING_KEY is",
        ] {
            assert!(error.contains(name), "{name}: {error}");
        }
    }
}
