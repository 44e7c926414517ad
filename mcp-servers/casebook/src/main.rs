//! Runs the casebook: the MCP tools on one listener, the internal API on another.

use std::sync::Arc;

use anyhow::Context;
use nightshift_casebook::{CasebookServer, Cases, Config, ToolRuns, internal_routes};
use nightshift_domain::scope::Audience;
use nightshift_mcp_kit::{
    SystemClock, Tools,
    serve::{self, End},
};
use nightshift_store::Store;
use secrecy::ExposeSecret;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_env()?;
    config.server.logging.start();

    let url = config.database_url.expose_secret();
    let store = Store::connect(url, config.database_connections)
        .await
        .context("cannot connect to the database that DATABASE_URL names")?;
    let cases = Cases::new(store, Arc::new(SystemClock), config.rest_for);

    let runs = Arc::new(ToolRuns(cases.clone()));
    let gate = serve::gate(&config.server, Audience::Casebook, runs)?;
    let server = Arc::new(CasebookServer::new(cases.clone())?);
    let tools = Tools::new(server, Arc::new(cases.clone()));
    let agents = serve::routes(&config.server.public_host, gate, tools);
    let services = internal_routes(cases, config.credentials, config.internal_names);

    let end = End::of_process(config.server.exit_with_parent);
    tokio::try_join!(
        serve::until_ended(config.server.listen, agents, end.clone()),
        serve::until_ended(config.internal_listen, services, end),
    )?;
    Ok(())
}
