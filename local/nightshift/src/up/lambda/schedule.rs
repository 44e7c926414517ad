//! The sweep's schedule, as `EventBridge` keeps it.

use std::{sync::Arc, time::Duration};

use nightshift_queues::runtime::Invoke;
use serde_json::json;
use tokio::{sync::watch, time};

/// Invokes the sweep at once and then at this pace until `stop` turns true.
pub(super) async fn run(sweep: Arc<dyn Invoke>, every: Duration, mut stop: watch::Receiver<bool>) {
    let mut due = time::interval(every);
    due.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let event = json!({
            "version": "0",
            "id": uuid::Uuid::new_v4(),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": super::ACCOUNT,
            "region": super::REGION,
            "resources": [format!("arn:aws:events:{}:{}:rule/sweep", super::REGION, super::ACCOUNT)],
            "detail": {},
        });
        if let Err(error) = sweep.invoke(event.to_string().into()).await {
            tracing::warn!(%error, "A sweep failed; the next one looks again");
        }
    }
}
