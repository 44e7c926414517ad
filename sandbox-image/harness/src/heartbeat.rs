//! Tells the casebook that the agent lives, and hears from it when the run is over.

use std::time::Duration;

use crate::servers::Servers;

/// Between two heartbeats.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// Beats until the casebook says that the run is over. A beat that fails is only noted: whether
/// this sandbox may still work is for the token checks to say.
pub async fn until_over(servers: &Servers, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        match servers.heartbeat().await {
            Ok(answer) if !answer.go_on => return,
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %error, "A heartbeat did not arrive"),
        }
    }
}
