//! `queues`: SQS on one machine.

use std::io::IsTerminal;

use clap::Parser;
use nightshift_queues::{Args, serve};
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(Args::parse()))?;
    // Receives may wait for another twenty seconds; their callers need not.
    runtime.shutdown_background();
    Ok(())
}
