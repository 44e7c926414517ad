//! Gives waiting investigations their sandboxes. Trigger: the queue `claim.fifo`.

use std::sync::Arc;

use nightshift_claim::Coordinator;
use nightshift_engine::Settings;
use nightshift_lambda::{App, Queue, batch, machines::NoMachines};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (app, ()) = App::from_env(|_| Some(()))?;
    let platform = app.platform(Arc::new(NoMachines), Settings::default());
    let coordinator = Coordinator::new(platform, app.metrics.clone());
    batch::serve(Queue::Claim, app, coordinator).await
}
