//! The operators' API. Trigger: HTTP.

use nightshift_api::{ApiState, Tokens, router};
use nightshift_lambda::{App, http};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let names = |references: String| references.split(',').map(|r| r.trim().to_owned()).collect();
    let (app, references): (App, Vec<String>) =
        App::from_env(|env| env.required("NIGHTSHIFT_API_TOKEN_REFS").map(names))?;
    let mut tokens = Vec::with_capacity(references.len());
    for reference in &references {
        tokens.push(app.secrets.read(reference).await?);
    }
    let state = ApiState::new(app.store, app.clock, Tokens::new(&tokens)?);
    http::serve(http::publishing(router(state), app.publisher)).await
}
