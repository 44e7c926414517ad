//! Tells whoever sent an alert what was found. Trigger: the queue `write-back`.

use std::sync::Arc;

use nightshift_engine::Settings;
use nightshift_lambda::{App, Queue, batch, machines::NoMachines};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (app, ()) = App::from_env(|_| Some(()))?;
    let platform = app.platform(Arc::new(NoMachines), Settings::default());
    batch::serve(Queue::WriteBack, app, platform).await
}
