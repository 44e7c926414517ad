//! Tells attested sandboxes what to do. Trigger: HTTP.

use nightshift_lambda::{App, http};
use nightshift_session::{SessionConfig, router};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let (app, config) = App::from_env(SessionConfig::from_env)?;
    let state = config
        .open(app.store, app.clock, app.secrets, Some(app.kms))
        .await?;
    http::serve(router(state)).await
}
