//! Waiting until a machine has reached a state, beyond the provider's 60 seconds.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{Client, Failure, MachinesError, transport::Call};

/// The longest the provider waits in one call.
const LONGEST: Duration = Duration::from_mins(1);
/// What an answer may take beyond the wait itself.
const GRACE: Duration = Duration::from_secs(5);
/// Pause after a wait that failed at once, so that an outage is not hammered.
const PAUSE: Duration = Duration::from_millis(500);

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// It runs; its program may not be ready yet.
    Started,
    /// It is at rest.
    Stopped,
    /// It is frozen.
    Suspended,
    /// It is gone.
    Destroyed,
    /// It could not be made to run.
    Failed,
    /// It is in any state that lasts.
    Settled,
}

/// What a wait ended with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// The state it is in.
    #[serde(default)]
    pub state: String,
    /// The version of its configuration.
    #[serde(default)]
    pub version: String,
    /// The event that led there; a later wait can start from it.
    #[serde(default)]
    pub event_id: String,
}

impl WaitFor {
    /// How the API spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Suspended => "suspended",
            Self::Destroyed => "destroyed",
            Self::Failed => "failed",
            Self::Settled => "settled",
        }
    }
}

impl Client {
    /// Waits until a machine is in a state, at most for `patience`, however often the provider
    /// gives up in between. A machine that is not found is destroyed.
    ///
    /// [`MachinesError::WaitTimedOut`] says nothing about the machine but that it takes longer.
    pub async fn wait(
        &self,
        app: &str,
        id: &str,
        state: WaitFor,
        patience: Duration,
    ) -> Result<Waited, MachinesError> {
        self.wait_any(app, id, &[state], patience).await
    }

    /// As [`Self::wait`], for whichever of several states comes first.
    pub async fn wait_any(
        &self,
        app: &str,
        id: &str,
        states: &[WaitFor],
        patience: Duration,
    ) -> Result<Waited, MachinesError> {
        let began = Instant::now();
        loop {
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Err(MachinesError::WaitTimedOut { waited_ms });
            }
            match self.wait_once(app, id, states, left).await {
                Err(MachinesError::NotFound(_)) if states.contains(&WaitFor::Destroyed) => {
                    return Ok(Waited {
                        state: WaitFor::Destroyed.name().to_owned(),
                        ..Waited::default()
                    });
                }
                // 408 is the provider's clock, not ours.
                Err(MachinesError::Unavailable(Failure::Answer(refusal)))
                    if refusal.http_status == 408 => {}
                Err(MachinesError::Unavailable(_) | MachinesError::RateLimited(_)) => {
                    let left = patience.saturating_sub(began.elapsed());
                    tokio::time::sleep(PAUSE.min(left)).await;
                }
                other => return other,
            }
        }
    }

    /// One call, cut short where our patience ends inside the provider's whole seconds.
    async fn wait_once(
        &self,
        app: &str,
        id: &str,
        states: &[WaitFor],
        left: Duration,
    ) -> Result<Waited, MachinesError> {
        let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let asked = Duration::from_secs(whole).min(LONGEST);
        let mut call = Call::wait(
            ["apps", app, "machines", id, "wait"],
            left.min(asked + GRACE),
        );
        for state in states {
            call = call.query("state", state.name());
        }
        self.send(call.query("timeout", &asked.as_secs())).await
    }
}
