//! Serves a tenant's code and changes to the agents that investigate for it.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use nightshift_codebase::{CodebaseServer, Connections};
use nightshift_mcp_kit::{CachedRuns, CasebookClient, EvidenceLog, Runs, casebook, serve};
use nightshift_observer::Config;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not have started: the configuration itself may be what is wrong.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("codebase: {error:#}\n").as_bytes(),
            );
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let config = Config::from_env()?;
    config.server.logging.start();

    let casebook = Arc::new(CasebookClient::new(
        casebook::http_client()?,
        &config.casebook,
    )?);
    let connections =
        Connections::index(&config.recordings).context("NIGHTSHIFT_RECORDINGS is not usable")?;
    let server = CodebaseServer::new(connections.clone())?;
    tokio::spawn(async move { connections.preload().await });

    let log: Arc<dyn EvidenceLog> = Arc::clone(&casebook) as _;
    let runs: Arc<dyn Runs> = Arc::new(CachedRuns::new(casebook));
    serve::tools(&config.server, server, runs, log).await?;
    Ok(())
}
