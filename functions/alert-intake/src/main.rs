//! Takes alerts in. Trigger: HTTP, `POST /v1/hooks/{path_token}`.

use nightshift_alert_intake::{IntakeState, router};
use nightshift_lambda::{App, http};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let (app, ()) = App::from_env(|_| Some(()))?;
    let intake = router(IntakeState {
        store: app.store,
        clock: app.clock,
        secrets: app.secrets,
    });
    http::serve(http::publishing(intake, app.publisher)).await
}
