//! Makes sandboxes ready. Trigger: the queue `provision`.

use nightshift_lambda::{
    App, Queue, batch,
    machines::{MachinesConfig, settings_from_env},
};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (app, (machines, settings)) = App::from_env(|env| {
        let (machines, settings) = (MachinesConfig::from_env(env), settings_from_env(env));
        machines.zip(settings)
    })?;
    let provider = machines.provider(&*app.secrets).await?;
    let platform = app.platform(provider, settings);
    batch::serve(Queue::Provision, app, platform).await
}
