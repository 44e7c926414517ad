//! One documented behaviour, and how to ask for it.

use anyhow::{Context as _, Result, bail};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use futures_util::future::BoxFuture;

use crate::peer::Peer;

type Run = for<'a> fn(&'a Peer) -> BoxFuture<'a, Result<()>>;

/// One documented behaviour.
#[derive(Clone, Copy)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// What AWS's documentation says, in other words.
    pub(crate) says: &'static str,
    run: Run,
    /// It needs more time to pass than anybody waits for.
    takes_minutes: bool,
}

/// What became of a check.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// Only a clock that can be moved would answer it.
    Unasked,
}

impl Check {
    pub(crate) const fn new(name: &'static str, says: &'static str, run: Run) -> Self {
        let takes_minutes = false;
        Self {
            name,
            says,
            run,
            takes_minutes,
        }
    }

    /// The same, which only the simulator's clock makes bearable.
    pub(crate) const fn slow(name: &'static str, says: &'static str, run: Run) -> Self {
        let takes_minutes = true;
        Self {
            name,
            says,
            run,
            takes_minutes,
        }
    }

    pub(crate) async fn run(&self, peer: &Peer) -> Outcome {
        if self.takes_minutes && !peer.moves_clock() {
            return Outcome::Unasked;
        }
        match (self.run)(peer).await {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        }
    }
}

/// The request must have been refused with this code.
pub(crate) fn refused<T, E>(result: Result<T, SdkError<E>>, code: &str) -> Result<()>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Err(error) = result else {
        bail!("it was accepted instead of refused with {code}");
    };
    let Some(service) = error.as_service_error() else {
        return Err(error).context("no answer");
    };
    let answered = service.code().unwrap_or("no code");
    if answered != code {
        bail!(
            "it was refused with {answered} ({}) instead of {code}",
            service.message().unwrap_or_default()
        );
    }
    Ok(())
}
