//! Keeps the tokens fresh: in good time, and at once when a server refuses one.

use std::{sync::Arc, time::Duration};

use nightshift_domain::Epoch;
use nightshift_protocol::attestation::IssuedToken;
use tokio::sync::Mutex;

use crate::{
    key::ProofKey,
    session::{Session, SessionError},
    tokens::{Generation, Tokens, renew_after},
};

/// Renews the tokens of one run.
pub struct Renewal {
    session: Session,
    epoch: Epoch,
    tokens: Arc<Tokens>,
    due_in: Mutex<Duration>,
}

impl Renewal {
    /// Takes the first tokens of a run.
    #[must_use]
    pub fn begin(
        session: Session,
        epoch: Epoch,
        tokens: Arc<Tokens>,
        issued: Vec<IssuedToken>,
    ) -> Self {
        let due_in = Mutex::new(renew_after(&issued));
        tokens.replace(issued);
        Self {
            session,
            epoch,
            tokens,
            due_in,
        }
    }

    /// The tokens that this keeps fresh.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The key that they are bound to.
    #[must_use]
    pub const fn key(&self) -> &ProofKey {
        self.session.key()
    }

    /// Renews, unless somebody already replaced the tokens of `refused`.
    pub async fn renew(&self, refused: Generation) -> Result<(), SessionError> {
        let mut due_in = self.due_in.lock().await;
        if self.tokens.generation() != refused {
            return Ok(());
        }
        let answer = self.session.refresh(self.epoch).await?;
        *due_in = renew_after(&answer.tokens);
        self.tokens.replace(answer.tokens);
        tracing::info!(epoch = %self.epoch, "Renewed the run tokens");
        Ok(())
    }

    /// Renews in good time until that is refused. While nobody answers it goes on trying: the
    /// tokens may still live, and a server that refuses one asks for a renewal anyway.
    pub async fn keep_fresh(&self) -> SessionError {
        loop {
            let generation = self.tokens.generation();
            let wait = *self.due_in.lock().await;
            tokio::time::sleep(wait).await;
            match self.renew(generation).await {
                Ok(()) => {}
                Err(error @ SessionError::Unreachable { .. }) => {
                    tracing::warn!(error = %error, "Could not renew the run tokens yet");
                    *self.due_in.lock().await = Duration::from_secs(1);
                }
                Err(error) => return error,
            }
        }
    }
}
