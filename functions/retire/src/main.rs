//! Destroys sandboxes. Trigger: the queue `retire`.

use nightshift_engine::Settings;
use nightshift_lambda::{App, Queue, batch, machines::MachinesConfig};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (app, machines) = App::from_env(MachinesConfig::from_env)?;
    let provider = machines.provider(&*app.secrets).await?;
    let platform = app.platform(provider, Settings::default());
    batch::serve(Queue::Retire, app, platform).await
}
