//! Signs of life.

use nightshift_protocol::tools::casebook::Heartbeat;
use nightshift_store::StoreError;

use super::{ATTEMPTS, Cases, RunKey};
use crate::CaseError;

impl Cases {
    /// Notes that the run is alive, and tells whether it should go on.
    pub async fn heartbeat(&self, run: RunKey) -> Result<Heartbeat, CaseError> {
        for _ in 0..ATTEMPTS {
            match self.try_heartbeat(run).await {
                Err(CaseError::Store(StoreError::Stale(_))) => {}
                Err(CaseError::NotLive) => {
                    return Ok(Heartbeat {
                        go_on: false,
                        messages_waiting: 0,
                    });
                }
                done => return done,
            }
        }
        Err(CaseError::Contended)
    }

    async fn try_heartbeat(&self, run: RunKey) -> Result<Heartbeat, CaseError> {
        let mut tx = self.store.begin_for(run.whose()).await?;
        let investigation = self.held(&mut tx, run).await?;
        let now = self.clock.now();
        tx.apply(investigation.heartbeat(run.epoch, now)?, now)
            .await?;
        let waiting = tx.unanswered(run.investigation).await?;
        tx.commit().await?;
        Ok(Heartbeat {
            go_on: true,
            messages_waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
        })
    }
}
