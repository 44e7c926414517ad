//! What an operator sets for the session function.

use std::sync::Arc;

use nightshift_engine::Clock;
use nightshift_lambda::{Environment, Kms, Secrets};
use nightshift_store::Store;

use crate::{
    Briefing, DiscoveryError, Servers, SessionState, SigningKey, SigningKeys, StatementVerifier,
    discovery::is_address, keys::KeysError, statement::check_issuer,
};

/// What an operator sets for the session function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// The issuer of machine statements: `https`, or `http` on this machine.
    pub statement_issuer: String,
    /// The `iss` of run tokens.
    pub token_issuer: String,
    /// Where the keys are that sign them.
    pub signing_key: SigningKey,
    /// What every agent is told.
    pub briefing: Briefing,
    /// The secret that holds the secrets of the servers that may have web identities.
    pub servers: Option<String>,
}

/// The session function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The signing keys are of no use.
    #[error("the signing keys cannot be used")]
    Keys(#[from] KeysError),
    /// The issuer of statements is of no use.
    #[error("the issuer of statements cannot be used")]
    Issuer(#[from] DiscoveryError),
}

impl SessionConfig {
    /// Reads `NIGHTSHIFT_STATEMENT_ISSUER`, `NIGHTSHIFT_TOKEN_ISSUER`, `NIGHTSHIFT_SIGNING_KEY` (a file) or
    /// `NIGHTSHIFT_SIGNING_KEY_REF` (a reference to a secret), `NIGHTSHIFT_SERVERS_REF` (as well, if there is any), and
    /// those of [`Briefing::from_env`].
    pub fn from_env(env: &mut Environment) -> Option<Self> {
        let statement_issuer: Option<String> = env.required("NIGHTSHIFT_STATEMENT_ISSUER");
        let token_issuer: Option<String> = env.required("NIGHTSHIFT_TOKEN_ISSUER");
        let signing_key = SigningKey::from_env(env);
        let briefing = Briefing::from_env(env);
        if let Some(Err(error)) = statement_issuer.as_deref().map(check_issuer) {
            env.reject("NIGHTSHIFT_STATEMENT_ISSUER", error);
        }
        let servers = env.optional("NIGHTSHIFT_SERVERS_REF");
        if servers.is_some() && token_issuer.as_deref().is_some_and(|it| !is_address(it)) {
            let why = "AWS believes an issuer only at an https address without a slash at its end";
            env.reject("NIGHTSHIFT_TOKEN_ISSUER", why);
        }
        Some(Self {
            statement_issuer: statement_issuer?,
            token_issuer: token_issuer?,
            signing_key: signing_key?,
            briefing,
            servers,
        })
    }

    /// Opens the keys and prepares the verifier. Nothing is asked over the network yet but the keys, where
    /// they are kept there. Keys in KMS are of use only where there is one.
    pub async fn open(
        self,
        store: Store,
        clock: Arc<dyn Clock>,
        secrets: Arc<dyn Secrets>,
        kms: Option<Arc<Kms>>,
    ) -> Result<SessionState, OpenError> {
        let servers = self.servers.map(|reference| {
            let secrets = Arc::clone(&secrets);
            Arc::new(Servers::new(reference, secrets))
        });
        let keys = SigningKeys::open(self.signing_key, secrets, kms).await?;
        Ok(SessionState {
            store,
            clock,
            verifier: Arc::new(StatementVerifier::new(&self.statement_issuer)?),
            keys: Arc::new(keys),
            issuer: self.token_issuer.into(),
            briefing: Arc::new(self.briefing),
            servers,
        })
    }
}

impl SigningKey {
    fn from_env(env: &mut Environment) -> Option<Self> {
        let path = env.optional("NIGHTSHIFT_SIGNING_KEY");
        let reference = env.optional("NIGHTSHIFT_SIGNING_KEY_REF");
        match (path, reference) {
            (Some(path), None) => Some(Self::File(path)),
            (None, Some(reference)) => Some(Self::Secret(reference)),
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

    #[test]
    fn who_lends_credentials_has_an_address_that_aws_can_ask() {
        let with = |issuer| {
            let mut env = Environment::of([
                ("NIGHTSHIFT_STATEMENT_ISSUER", "https://oidc.example"),
                ("NIGHTSHIFT_TOKEN_ISSUER", issuer),
                ("NIGHTSHIFT_SIGNING_KEY", "/keys.json"),
                ("NIGHTSHIFT_SERVERS_REF", "servers"),
            ]);
            let config = SessionConfig::from_env(&mut env);
            env.settle().map(|()| config)
        };
        let config = with("https://session.example").unwrap().unwrap();
        assert_eq!(config.servers.as_deref(), Some("servers"));
        let error = with("nightshift").unwrap_err().to_string();
        assert!(error.contains("NIGHTSHIFT_TOKEN_ISSUER cannot"), "{error}");
    }
}
