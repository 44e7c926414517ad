//! Brings back what is overdue or was left lying. Trigger: a schedule, each minute.

use std::sync::Arc;

use nightshift_engine::Settings;
use nightshift_lambda::{App, machines::MachinesConfig, schedule};
use nightshift_sweep::Sweeper;

/// A sweep does one thing after the other, and holds no transaction while it begins the next.
const CONNECTIONS: u32 = 1;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (app, machines) = App::with_connections(CONNECTIONS, MachinesConfig::from_env)?;
    let provider = machines.provider(&*app.secrets).await?;
    let platform = app.platform(provider, Settings::default());
    let sweeper = Arc::new(Sweeper::new(app, platform));
    schedule::serve(move |until| {
        let sweeper = Arc::clone(&sweeper);
        async move { Ok(sweeper.sweep(until).await?) }
    })
    .await
}
