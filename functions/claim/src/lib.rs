//! Carries out what comes by the queue `claim.fifo`, and measures how long each sandbox was waited for.

use futures_util::future::{BoxFuture, FutureExt};
use nightshift_engine::{
    Platform, claim,
    steps::{self, StepError},
};
use nightshift_lambda::{
    batch::Work,
    metrics::{Metric, Metrics, milliseconds},
};
use nightshift_protocol::{Envelope, Step};

/// A pool's coordinator.
#[derive(Debug)]
pub struct Coordinator {
    platform: Platform,
    metrics: Metrics,
}

impl Coordinator {
    /// Grants on `platform`.
    #[must_use]
    pub const fn new(platform: Platform, metrics: Metrics) -> Self {
        Self { platform, metrics }
    }

    async fn grant(&self, envelope: Envelope) -> Result<(), StepError> {
        let Step::ClaimWake { pool } = envelope.step else {
            return steps::follow(&self.platform, envelope).await;
        };
        let granted = claim::claim(&self.platform.following(envelope.trace), pool).await?;
        let waits: Vec<f64> = granted
            .iter()
            .map(|granted| milliseconds(granted.waited))
            .collect();
        let pool = pool.to_string();
        self.metrics.put(Metric::ClaimWait, ("pool", &pool), &waits);
        Ok(())
    }
}

impl Work for Coordinator {
    fn carry_out(&self, envelope: Envelope) -> BoxFuture<'_, Result<(), StepError>> {
        self.grant(envelope).boxed()
    }
}
