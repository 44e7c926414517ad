//! Sends what was just written to the queues, after the commit and before the answer.

use std::{fmt, sync::Arc, time::Duration};

use nightshift_engine::{
    Clock, causes,
    relay::{self, Carrier, Published},
};
use nightshift_store::Store;

use crate::metrics::{Metric, Metrics, milliseconds};

/// How long a sender waits for its answer at most because of us. What is not sent by then is sent by
/// the next one that publishes, at the latest by the sweep.
pub const BESIDE_AN_ANSWER: Duration = Duration::from_millis(300);

/// Sends what was just written. A failure is logged and never the caller's: the steps are committed, so
/// the sweep sends them.
#[derive(Clone)]
pub struct Publisher {
    store: Store,
    clock: Arc<dyn Clock>,
    carrier: Arc<dyn Carrier>,
    metrics: Metrics,
}

impl Publisher {
    /// Sends what `store` holds by `carrier`.
    #[must_use]
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        carrier: Arc<dyn Carrier>,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            clock,
            carrier,
            metrics,
        }
    }

    /// Hands over what is due, for at most `patience`.
    pub async fn publish(&self, patience: Duration) -> Published {
        let published = relay::publish(&self.store, &*self.clock, &*self.carrier, patience).await;
        let published = match published {
            Ok(published) => published,
            Err(error) => {
                let error = causes(&error);
                tracing::warn!(error, "Could not publish; the sweep will");
                return Published::default();
            }
        };
        if let Some(lag) = published.lag {
            let values = [milliseconds(lag)];
            self.metrics
                .put(Metric::OutboxLag, ("carrier", "sqs"), &values);
        }
        if published.left > 0 || published.cut_short {
            tracing::warn!(
                accepted = published.accepted,
                left = published.left,
                cut_short = published.cut_short,
                "Left steps to the next one that publishes"
            );
        }
        published
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}
