//! `nightshift`: see [`nightshift_cli`].

use std::{fs::File, process::ExitCode, sync::Mutex};

use clap::Parser;
use nightshift_cli::{checkout::Checkout, cli::Cli, say};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<bool> {
    let checkout = cli.checkout()?;
    log_to_file(&checkout)?;
    cli.run(checkout).await
}

/// The terminal is for the person; what the control plane logs goes beside the children's logs.
fn log_to_file(checkout: &Checkout) -> anyhow::Result<()> {
    let path = checkout.logs()?.join("nightshift.log");
    let file = File::options().create(true).append(true).open(path)?;
    let filter =
        EnvFilter::try_from_env("NIGHTSHIFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(Mutex::new(file))
        .init();
    Ok(())
}
