//! Takes alerts in. Trigger: HTTP, `POST /v1/hooks/{path_token}`.

use nightshift_alert_intake::{IntakeState, router};
use nightshift_lambda::{App, http};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let (app, ()) = App::from_env(|_| Some(())).await?;
    let App {
        store,
        clock,
        secrets,
    } = app;
    http::serve(router(IntakeState {
        store,
        clock,
        secrets,
    }))
    .await
}
